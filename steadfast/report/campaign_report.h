// What a campaign found, from the store's rows alone: accuracy over rates, the rates at which accuracy drops, paired
// differences between models; as terminal tables, CSV and JSON. Contains no time and no machine: the same trials give
// the same bytes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/statistics/summary.h"
#include "steadfast/store/store.h"

namespace steadfast::report {

// What the trials of a cell did, as the field sorts them.
struct Outcomes {
  int64_t masked = 0;      // trials in which no output moved: margins and losses add up to the fault-free sums
  int64_t tolerable = 0;   // in which outputs moved, and every image has the class it had without faults
  int64_t sdc1 = 0;        // in which the class of some image changed (silent data corruption of the top class)
  int64_t beneficial = 0;  // of all: more images are right than without faults
  std::optional<int64_t> critical;   // of all: accuracy is below the floor; nothing: no floor is given
  double changed = 0, repaired = 0;  // mean shares of images: whose class changed; wrong ones made right
  double shortfall = 0;  // mean accuracy of the worst twentieth of trials (expected shortfall), at least of one
};

// All trials of one model at one fault kind, encoding and rate.
struct Cell {
  int64_t model;
  std::string fault, encoding;
  double rate;
  statistics::Summary accuracy;  // shares
  // Where trials ended when the mean was known well enough: its 95 % confidence sequence, in the order of the trials.
  std::optional<statistics::Interval> sequence;
  statistics::Interval any_law;  // of the mean, whatever the law (statistics/bounded_mean.h)
  double mean_faulty_bits, mean_changed_codes, mean_changed_predictions;
  double mean_margin, mean_loss;
  Outcomes outcomes;
};

// The rate at which mean accuracy has dropped by `points` from the fault-free accuracy: interpolated between rates of
// the grid, linearly in the rate's logarithm (below the lowest rate, linearly in the rate). `rate` is empty if accuracy
// does not drop that far within the grid.
struct DropRate {
  int64_t model;
  std::string fault, encoding;
  double points;
  std::optional<double> rate;
};

// Accuracy of model a minus model b in the same trials (the same faults where layouts agree), in points.
struct PairedDifference {
  int64_t model_a, model_b;
  std::string fault, encoding;
  double rate;
  double mean;
  statistics::Interval interval;  // Student's t over trials
};

struct CampaignReport {
  std::vector<store::ModelRow> models;
  std::vector<store::TrialRow> trials;
  std::vector<Cell> cells;
  std::vector<DropRate> drops;
  std::vector<PairedDifference> differences;
};

struct ReportOptions {
  bool is_sequential = false;        // trials ended when means were known well enough (--until)
  std::optional<double> floor = {};  // of accuracy, as a share: below it, a trial is critical
};
// Cells come in the order in which their first trials do.
CampaignReport MakeCampaignReport(std::vector<store::ModelRow> models, std::vector<store::TrialRow> trials,
                                  const ReportOptions& options = {});

std::string ToText(const CampaignReport& report);
// One row a trial (docs/formats.md).
std::string ToCsv(const CampaignReport& report);
nlohmann::json ToJson(const CampaignReport& report, const nlohmann::json& settings);

// Whether the network's training ended no better than always answering the most frequent class, as its file says; and
// what tables say of such.
bool EndedAtChance(const store::ModelRow& model);
inline constexpr const char* kAtChance =
    "(chance): training ended no better than always answering the most frequent class.\n";

// Numbers that are not finite become null.
nlohmann::json JsonNumber(double value);

}  // namespace steadfast::report
