// Training a network from a recipe, with checkpoints: killed at any moment and run again, training resumes at the last
// finished epoch and ends with the bit-identical network (same machine type, thread count and library).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "steadfast/base/cancellation.h"    // Cancellation
#include "steadfast/recipe/recipe.h"        // Recipe
#include "steadfast/train/network.h"        // Network
#include "steadfast/train/training_data.h"  // TrainingData

namespace steadfast::train {

// LibTorch's threads, and those of OpenBLAS, which keeps a pool of its own where it is built on pthreads.
void UseThreads(int threads);

struct EpochMetrics {
  int epoch;                   // from 1
  double loss;                 // mean over the epoch's batches, penalty included
  double validation_loss;      // mean cross-entropy
  double validation_accuracy;  // share
  double learning_rate;        // of the last step
  double seconds;
};
nlohmann::json ToJson(const EpochMetrics& metrics);

struct TrainingProgress {
  int epoch;  // under way, from 1
  int epochs;
  double share;  // of the whole training, in [0, 1]
  double loss;   // mean of the epoch so far
  double images_per_second;
  double seconds_left;
};

// Of a network that is trained already, as it came: without quantizers, on the validation images.
struct StartingPoint {
  double loss, accuracy;
  double padding_difference;  // in bytes (network::FoldInput)
};

struct TrainingOptions {
  std::filesystem::path checkpoint;  // empty: none. Removed by the caller once the result is safe.
  std::function<void(const TrainingProgress&)> on_progress;  // a few times a second
  std::function<void(const StartingPoint&)> on_start;        // before the first epoch
  std::function<void(const EpochMetrics&)> on_epoch;         // after each epoch, past ones of a resumed run too
  const Cancellation* cancellation = nullptr;                // polled each batch
};

struct TrainedNetwork {
  std::unique_ptr<Network> network;
  std::vector<EpochMetrics> epochs;
  double validation_accuracy = 0.0;  // of the final network, after FATReLU where the recipe has it
};

// Throws UsageError for impossible recipes; InputError where the checkpoint belongs to another recipe or other data, or
// where the loss stops being a number (which names the epoch); InterruptedError when cancelled.
TrainedNetwork Train(const recipe::Recipe& recipe, const TrainingData& data, const TrainingOptions& options = {});

struct EvaluationResult {
  double loss;      // mean cross-entropy
  double accuracy;  // share
  std::vector<int64_t> predictions;
};
EvaluationResult Evaluate(Network& network, const data::ImageSet& set, std::span<const int64_t> indices,
                          data::InputScale scale);

}  // namespace steadfast::train
