// Two recipes compared, as an effect with an interval, from the store's rows.
//
// An effect is a difference of accuracy paired by training seed and trial number, averaged over all fault kinds,
// encodings and rates of the grid; the training seed is the unit, and the interval is Student's t over seed means. The
// claim that the first is better holds if the interval lies above 0, does not hold if it lies below, and is undecided
// otherwise.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/statistics/summary.h"
#include "steadfast/store/store.h"

namespace steadfast::report {

struct Effect {
  double mean;
  statistics::Interval interval;
  std::vector<double> seeds;  // one value a training seed
};

struct CellEffect {
  std::string fault, encoding;
  double rate;
  double mean;                        // points, over seeds and trials
  statistics::Interval simultaneous;  // holds for all cells together (Bonferroni)
};

struct Comparison {
  std::string id;             // "as-saq - standard", or of a claim
  std::string statement;      // what it would mean, in a sentence
  std::string better, worse;  // recipes: the effect is better minus worse
  std::string unit;           // "points" or "loss"
  std::string verdict;        // "holds", "does not hold", "undecided"
  Effect primary;
  Effect drop;                    // effect on the drop from clean accuracy; no seeds where accuracy is not compared
  std::vector<CellEffect> cells;  // the grid; empty where accuracy is not compared
  int largest = -1;               // index of the cell with the largest effect
  std::optional<double> relative_radius = {};  // of the sharpness, where sharpness is compared
  std::string question = {};                   // that claims like this one answer; empty: no claim, only a comparison
};

// Better minus worse of accuracy under faults. Throws InputError where a recipe has no model, or the recipes' seeds
// differ. Without an id it is "better - worse".
Comparison CompareRecipes(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials,
                          const std::string& better, const std::string& worse, const std::string& id = "",
                          const std::string& statement = "");
// The same for any number that each model has, `value`, measured in `unit`.
Comparison CompareModels(const std::vector<store::ModelRow>& models, const std::string& better,
                         const std::string& worse, const std::string& id, const std::string& statement,
                         const std::string& unit, const std::function<double(const store::ModelRow&)>& value);

nlohmann::json ToJson(const std::vector<Comparison>& comparisons);
std::string ToText(const std::vector<Comparison>& comparisons);
std::vector<store::ClaimRow> ToRows(const std::vector<Comparison>& comparisons);

// Accuracy over rates by recipe (mean over seeds and trials, t interval over seed means), and the sparsity of each.
std::string RecipeTable(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials);

// The same as CSV: recipe,fault,encoding,rate,seeds,trials,accuracy,low,high (percent; fault "none" is the fault-free
// network; low and high bound the 95 % t interval over seed means, empty for one seed), and zero_share by recipe.
std::string RecipeCsv(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials);

}  // namespace steadfast::report
