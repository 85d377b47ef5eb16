#include "steadfast/train/training_data.h"

#include <algorithm>

#include "steadfast/train/fused_quantization.h"  // LookUp

namespace steadfast::train {

TrainingData MakeTrainingData(data::ImageSet images, int64_t train_images) {
  TrainingData result;
  result.scale = data::InputScaleOf(images);
  result.hash = data::HashOf(images);
  result.split = data::HoldOutValidation(images.size(), std::min(data::kValidationImages, images.size() / 10));
  auto& training = result.split.training;
  if (train_images > 0 && train_images < static_cast<int64_t>(training.size())) {
    const auto order = data::Permutation(static_cast<int64_t>(training.size()), 0, 1);
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < train_images; ++i)
      kept.push_back(training[static_cast<size_t>(order[static_cast<size_t>(i)])]);
    std::sort(kept.begin(), kept.end());
    training = std::move(kept);
  }
  result.images = std::move(images);
  return result;
}

Batch MakeBatch(const data::ImageSet& set, std::span<const int64_t> indices, data::InputScale scale) {
  float table[256];
  for (int byte = 0; byte < 256; ++byte) table[byte] = scale.scale * static_cast<float>(byte - scale.zero_point);
  const auto n = static_cast<int64_t>(indices.size());
  Batch batch{torch::empty({n, set.shape.channels, set.shape.height, set.shape.width}),
              torch::empty({n}, torch::kLong)};
  float* pixels = batch.images.data_ptr<float>();
  int64_t* labels = batch.labels.data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t index = indices[static_cast<size_t>(i)];
    LookUp(set.image(index).data(), pixels + i * set.shape.pixels(), set.shape.pixels(), table);
    labels[i] = set.labels[static_cast<size_t>(index)];
  }
  return batch;
}

}  // namespace steadfast::train
