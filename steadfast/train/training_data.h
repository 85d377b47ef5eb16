// Images as LibTorch batches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "steadfast/data/dataset.h"
#include "steadfast/train/libtorch.h"

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
// Random changes of images, which depend on seed, epoch and the image's number alone (Philox).
struct Augmentation {
  int crop = 0;       // pixels of padding, out of which an image of the old size is cut
  bool flip = false;  // every second image is its mirror image
  int cutout = 0;     // side of a square that is blanked
  uint64_t seed = 0;
  uint32_t epoch = 0;
  bool changes() const { return crop > 0 || flip || cutout > 0; }
};
// `augmentation`: null: none. What is blank, in cut-out squares or beyond the edge, has the value 0.
Batch MakeBatch(const data::ImageSet& set, std::span<const int64_t> indices, data::InputScale scale,
                const Augmentation* augmentation = nullptr);

}  // namespace steadfast::train
