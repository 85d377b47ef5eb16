#include "steadfast/train/training_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/philox.h"
#include "steadfast/train/fused_quantization.h"  // LookUp

namespace steadfast::train {

TrainingData MakeTrainingData(data::ImageSet images, int64_t train_images) {
  TrainingData result;
  if (images.size() < 10)
    throw InputError(
        fmt::format("{} training images are too few: a tenth of them is held out for validation", images.size()));
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

namespace {

constexpr uint32_t kAugmentationStream = 0x41554731;

// An image under random changes. blank: the byte that stands for 0.
void Augment(const Augmentation& a, int64_t index, std::span<const uint8_t> from, const data::ImageShape& shape,
             uint8_t blank, std::vector<uint8_t>& to) {
  const PhiloxOutput random =
      Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), a.epoch, kAugmentationStream},
                 KeyOfSeed(a.seed));
  const PhiloxOutput more =
      Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), a.epoch, kAugmentationStream + 1},
                 KeyOfSeed(a.seed));
  const auto below = [](uint32_t word, int bound) {
    return static_cast<int>((uint64_t{word} * static_cast<uint64_t>(bound)) >> 32);
  };
  const int down = below(random[0], 2 * a.crop + 1) - a.crop, right = below(random[1], 2 * a.crop + 1) - a.crop;
  const bool mirrored = a.flip && (random[2] >> 31) != 0;
  const int top = below(more[0], shape.height) - a.cutout / 2, left = below(more[1], shape.width) - a.cutout / 2;
  to.resize(from.size());
  size_t at = 0;
  for (int c = 0; c < shape.channels; ++c) {
    for (int y = 0; y < shape.height; ++y) {
      for (int x = 0; x < shape.width; ++x, ++at) {
        const int sy = y + down, sx = (mirrored ? shape.width - 1 - x : x) + right;
        const bool inside = sy >= 0 && sy < shape.height && sx >= 0 && sx < shape.width;
        const bool is_cut = y >= top && y < top + a.cutout && x >= left && x < left + a.cutout;
        to[at] = inside && !is_cut ? from[static_cast<size_t>((c * shape.height + sy) * shape.width + sx)] : blank;
      }
    }
  }
}

}  // namespace

Batch MakeBatch(const data::ImageSet& set, std::span<const int64_t> indices, data::InputScale scale,
                const Augmentation* augmentation) {
  float table[256];
  for (int byte = 0; byte < 256; ++byte) table[byte] = scale.scale * static_cast<float>(byte - scale.zero_point);
  const auto n = static_cast<int64_t>(indices.size());
  Batch batch{torch::empty({n, set.shape.channels, set.shape.height, set.shape.width}),
              torch::empty({n}, torch::kLong)};
  float* pixels = batch.images.data_ptr<float>();
  int64_t* labels = batch.labels.data_ptr<int64_t>();
  std::vector<uint8_t> changed;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t index = indices[static_cast<size_t>(i)];
    std::span<const uint8_t> image = set.image(index);
    if (augmentation != nullptr && augmentation->changes()) {
      Augment(*augmentation, index, image, set.shape, static_cast<uint8_t>(scale.zero_point), changed);
      image = changed;
    }
    LookUp(image.data(), pixels + i * set.shape.pixels(), set.shape.pixels(), table);
    labels[i] = set.labels[static_cast<size_t>(index)];
  }
  return batch;
}

}  // namespace steadfast::train
