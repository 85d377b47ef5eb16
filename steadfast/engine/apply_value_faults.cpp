#include "steadfast/engine/apply_value_faults.h"

#include <algorithm>
#include <span>

#include "steadfast/engine/block.h"  // kBlockImages, kRowBytes

namespace steadfast::engine {
namespace {

using model::ValueFaults;

// The faults of images [first, first + count).
std::span<const ValueFaults::InOneImage> OfImages(const ValueFaults::OfValue& faults, int64_t first, int64_t count) {
  const auto& all = faults.in_one_image;
  const auto before = [](const ValueFaults::InOneImage& fault, int64_t image) { return fault.image < image; };
  const auto begin = std::lower_bound(all.begin(), all.end(), first, before);
  return {begin, std::lower_bound(begin, all.end(), first + count, before)};
}

}  // namespace

void ApplyToRows(const ValueFaults::OfValue& faults, int64_t block, uint8_t* rows) {
  for (const auto& fault : faults.in_every_image) {
    uint8_t* row = rows + fault.element * kRowBytes;
    for (int64_t i = 0; i < kBlockImages; ++i) row[i] = fault.masks.Of(row[i]);
  }
  const int64_t first = block * kBlockImages;
  for (const auto& fault : OfImages(faults, first, kBlockImages)) {
    uint8_t& code = rows[fault.element * kRowBytes + fault.image - first];
    code = fault.masks.Of(code);
  }
}

void ApplyToSlice(const ValueFaults::OfValue& faults, int64_t block, int64_t slice, const SliceLayout& layout,
                  uint8_t* quads) {
  // 32 bits, whose division is several times as fast.
  const auto width = static_cast<uint32_t>(layout.shape.width);
  const auto plane = static_cast<uint32_t>(layout.shape.height) * width;
  const auto code_at = [&](int64_t element, int64_t image) -> uint8_t& {
    const uint32_t channel = static_cast<uint32_t>(element) / plane, pixel = static_cast<uint32_t>(element) % plane;
    return quads[layout.at(pixel / width, pixel % width) + channel / 4 * kSliceQuadBytes + image * 4 + channel % 4];
  };
  for (const auto& fault : faults.in_every_image) {
    for (int64_t image = 0; image < kSliceImages; ++image) {
      uint8_t& code = code_at(fault.element, image);
      code = fault.masks.Of(code);
    }
  }
  const int64_t first = block * kBlockImages + slice * kSliceImages;
  for (const auto& fault : OfImages(faults, first, kSliceImages)) {
    uint8_t& code = code_at(fault.element, fault.image - first);
    code = fault.masks.Of(code);
  }
}

}  // namespace steadfast::engine
