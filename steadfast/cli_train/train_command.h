// The train command of steadfast-train: a recipe in, a model file out, JSON lines on standard output on the way.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "steadfast/base/cancellation.h"
#include "steadfast/data/dataset.h"  // ReadingProgress
#include "steadfast/recipe/recipe.h"

namespace steadfast::cli_train {

struct TrainCommand {
  recipe::Recipe recipe;
  std::filesystem::path data;    // --data; empty: not given
  std::filesystem::path output;  // model.onnx; beside it .metrics.jsonl, and .checkpoint while training
};

// One JSON object a line: {"event": "progress" | "epoch" | "stage" | "done", …} (docs/formats.md).
void Emit(const nlohmann::json& event);
// How far reading a folder of images is, as a stage.
void EmitReading(const data::ReadingProgress& reading);

// Throws Error where LibTorch fails.
void RunTrain(const TrainCommand& command, const Cancellation& cancellation);

}  // namespace steadfast::cli_train
