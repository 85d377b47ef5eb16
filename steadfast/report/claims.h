// The claims of arXiv 2406.10528 as effects with intervals, from the store's rows.
//
// An effect compares two recipes: differences of accuracy paired by training seed and trial number, averaged over all
// fault kinds, encodings and rates of the grid; the training seed is the unit, and the interval is Student's t over
// seed means. A claim holds where the interval lies above 0, does not hold where it lies below, and is undecided
// otherwise.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/statistics/summary.h"
#include "steadfast/store/store.h"

namespace steadfast::report {

// Which recipe plays which part.
struct ClaimRoles {
  std::string standard = "standard", as = "as", standard_saq = "standard-saq", as_saq = "as-saq";
};

// The radius of the one-step sharpness that claim 2 compares, relative to the norm of the quantized weights.
inline constexpr double kClaimRadius = 0.02;

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

struct Claim {
  std::string id;             // "1", "2", "3-as", "3-standard", "4"
  std::string statement;      // what the paper says, in a sentence
  std::string better, worse;  // recipes: the effect is better minus worse
  std::string unit;           // "points" or "loss"
  std::string verdict;        // "holds", "does not hold", "undecided"
  Effect primary;
  Effect drop;                    // of the drop from clean accuracy; empty seeds for claim 2
  std::vector<CellEffect> cells;  // the grid; empty for claim 2
  int largest = -1;               // index of the cell with the largest effect: the paper's "up to"
};

// Throws InputError where a recipe has no model, or the recipes' seeds differ.
std::vector<Claim> JudgeClaims(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials,
                               const ClaimRoles& roles = {});

// The same effect for any two recipes: better minus worse. Its id is "better - worse".
Claim CompareRecipes(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials,
                     const std::string& better, const std::string& worse);

nlohmann::json ToJson(const std::vector<Claim>& claims);
std::string ToText(const std::vector<Claim>& claims);
std::vector<store::ClaimRow> ToRows(const std::vector<Claim>& claims);

// Accuracy over rates by recipe (mean over seeds and trials, t interval over seed means), and the sparsity of each.
std::string RecipeTable(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials);

// The same as CSV: recipe,fault,encoding,rate,seeds,trials,accuracy,low,high (percent; fault "none" is the fault-free
// network; low and high bound the 95 % t interval over seed means, empty for one seed), and zero_share by recipe.
std::string RecipeCsv(const std::vector<store::ModelRow>& models, const std::vector<store::TrialRow>& trials);

}  // namespace steadfast::report
