// Images in blocks of 64, side by side in the lanes of vector registers.
//
// A "row" is the codes of one element of a value for the images of a block: 64 bytes. A value of a block is its rows,
// element after element.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace steadfast::engine {

inline constexpr int64_t kBlockImages = 64;
inline constexpr int64_t kRowBytes = kBlockImages;

// Images as the rows of blocks: [block][element][64]. Made once, used by every run.
class PreparedImages {
 public:
  // images: [n, elements]
  PreparedImages(std::span<const uint8_t> images, int64_t elements);
  int64_t images() const { return images_; }
  int64_t blocks() const { return (images_ + kBlockImages - 1) / kBlockImages; }
  std::span<const uint8_t> block(int64_t b) const {
    return std::span(bytes_).subspan(static_cast<size_t>(b * elements_ * kBlockImages),
                                     static_cast<size_t>(elements_ * kBlockImages));
  }
  // A copy of the first blocks.
  PreparedImages first_blocks(int64_t count) const;
  int64_t images_in(int64_t b) const { return std::min(kBlockImages, images_ - b * kBlockImages); }

 private:
  int64_t images_;
  int64_t elements_;
  std::vector<uint8_t> bytes_;
};

// The lanes that hold an image, where `images` of the 64 do.
inline uint64_t LanesOf(int64_t images) {
  return images >= kBlockImages ? ~uint64_t{0} : (uint64_t{1} << images) - 1;
}

}  // namespace steadfast::engine
