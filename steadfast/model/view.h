// How a tensor of a file lies over the elements of a value: what reshaping, transposing, slicing and gathering make of
// it, without moving anything. One image: the batch is a dimension of size 1.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "steadfast/model/quantized_model.h"  // ValueShape

namespace steadfast::model {

// Element i of the tensor, row-major, is element at(i) of the value.
struct View {
  std::vector<int64_t> dims;
  std::vector<int32_t> from;  // empty: i itself

  int64_t elements() const;
  int64_t at(int64_t i) const { return from.empty() ? i : from[static_cast<size_t>(i)]; }
  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  bool operator==(const View&) const = default;
};

// A value as its network computes it: [1, channels, height, width], [1, channels, width] where rank is 3, or
// [1, channels].
View ViewOf(const ValueShape& shape, int rank = 4);

// All of these throw InputError where the tensor is not of such a shape; an axis may be negative, from the end.
int64_t AxisOf(const View& view, int64_t axis);
View Reshaped(const View& view, const std::vector<int64_t>& sizes, bool zero_is_kept = true);  // one size may be -1
View Transposed(const View& view, const std::vector<int64_t>& permutation);                    // empty: reversed
View Sliced(const View& view, int64_t axis, int64_t start, int64_t end, int64_t step);         // as ONNX's Slice
View Gathered(const View& view, int64_t axis, std::span<const int64_t> indices);
View WithoutAxes(const View& view, std::vector<int64_t> axes);  // of size 1; none named: all of them
View WithAxes(const View& view, std::vector<int64_t> axes);     // of size 1, numbered in the result
View Broadcast(const View& view, const std::vector<int64_t>& dims);

// The shape that two tensors are broadcast to.
std::vector<int64_t> BroadcastDims(const std::vector<int64_t>& a, const std::vector<int64_t>& b);

// The same elements in the value's own order, each once, in the most regular shape that they have; the view of that.
struct Selection {
  ValueShape shape;
  std::vector<int32_t> from;  // of the value
  View view;
};
// Nothing where the view has all elements of the value.
std::optional<Selection> SelectionOf(const View& view, const ValueShape& value);

}  // namespace steadfast::model
