#include "steadfast/engine/block.h"

namespace steadfast::engine {

PreparedImages::PreparedImages(std::span<const uint8_t> images, int64_t elements)
    : images_(static_cast<int64_t>(images.size()) / elements), elements_(elements) {
  bytes_.resize(static_cast<size_t>(blocks() * elements * kBlockImages));
  for (int64_t b = 0; b < blocks(); ++b) {
    uint8_t* block = bytes_.data() + b * elements * kBlockImages;
    for (int64_t i = 0; i < images_in(b); ++i) {
      const uint8_t* image = images.data() + (b * kBlockImages + i) * elements;
      for (int64_t e = 0; e < elements; ++e) block[e * kBlockImages + i] = image[e];
    }
  }
}

PreparedImages PreparedImages::first_blocks(int64_t count) const {
  PreparedImages first({}, elements_);
  first.images_ = std::min(images_, count * kBlockImages);
  first.bytes_.assign(bytes_.begin(), bytes_.begin() + first.blocks() * elements_ * kBlockImages);
  return first;
}

}  // namespace steadfast::engine
