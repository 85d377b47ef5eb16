// Images as LibTorch batches.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "steadfast/data/dataset.h"

namespace steadfast::train {

struct TrainingData {
  data::ImageSet images;  // the whole training set
  data::ValidationSplit split;
  data::InputScale scale;
  std::string hash;  // of images
};

// Holds 5,000 images out (a tenth where there are fewer than 50,000). train_images > 0 keeps only that
// many of the others, the first of a fixed order.
TrainingData MakeTrainingData(data::ImageSet images, int64_t train_images = 0);

struct Batch {
  torch::Tensor images;  // [n, c, h, w] float32, normalized: scale * (byte - zero_point)
  torch::Tensor labels;  // [n] int64
};
Batch MakeBatch(const data::ImageSet& set, std::span<const int64_t> indices, data::InputScale scale);

}  // namespace steadfast::train
