// The sharpness command of steadfast-train: a model file in, numbers out, as JSON lines on standard output.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/campaign/input_scaling.h"
#include "steadfast/recipe/sharpness_settings.h"

namespace steadfast::cli_train {

struct SharpnessCommand {
  std::filesystem::path model;
  recipe::SharpnessSettings settings;
  std::string dataset;                       // empty: the one that the model names
  std::filesystem::path data;                // --data; empty: not given
  campaign::InputScaling input;              // of a model that takes real numbers
  std::vector<std::filesystem::path> lines;  // models to draw straight lines to
};

void RunSharpness(const SharpnessCommand& command, const Cancellation& cancellation);

}  // namespace steadfast::cli_train
