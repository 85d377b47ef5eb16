// Measuring the sharpness of models: steadfast-train does it, one process a model, and a store keeps what it found.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/campaign/loaded_model.h"      // DataChoice
#include "steadfast/recipe/sharpness_settings.h"  // SharpnessSettings
#include "steadfast/store/store.h"                // ModelRow, SharpnessRow

namespace steadfast::study {

struct SharpnessRunSettings {
  std::vector<std::filesystem::path> models;
  recipe::SharpnessSettings settings;
  // Straight lines between two of the models: kept with the first.
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> lines;
  std::vector<std::filesystem::path> other_stores;       // what they have of the same models and settings is taken over
  std::string dataset;                                   // empty: the one that each model names
  std::filesystem::path data;                            // folder of datasets; empty: not given
  campaign::InputScaling input;                          // of models that take real numbers
  int jobs = 0;                                          // models measured side by side, one thread each; 0: one a core
  std::string command;                                   // for the record
  std::function<void(const std::string&)> on_note = {};  // gets what was assumed of a model's input, in words
};

struct SharpnessProgress {
  size_t done, total;  // models
  double share;        // of the work, of this run
  std::vector<std::string> running;
};

struct SharpnessRun {
  std::vector<store::ModelRow> models;    // in the order given
  std::vector<store::SharpnessRow> rows;  // one a model
  size_t resumed;                         // how many were already in the store
};

// Measures what the store (empty path: none) lacks; each model is kept as soon as it is done. Throws InputError,
// UsageError, IoError; InterruptedError when cancelled.
SharpnessRun MeasureSharpness(const SharpnessRunSettings& settings, const std::filesystem::path& store,
                              const std::function<void(const SharpnessProgress&)>& on_progress = {},
                              const Cancellation* cancellation = nullptr);

}  // namespace steadfast::study
