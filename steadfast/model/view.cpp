#include "steadfast/model/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "steadfast/base/error.h"

namespace steadfast::model {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 26;  // of what is moved, each of which is listed

// Throws InputError where a size is not positive, or there are too many elements.
int64_t CheckedElements(std::span<const int64_t> sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) {
    if (size < 1 || size > kMostElements / count)
      throw InputError(fmt::format("a tensor of shape [{}] is not possible here", fmt::join(sizes, ", ")));
    count *= size;
  }
  return count;
}

// A tensor of `dims`, of whose coordinates `source` gives the element of `view`.
template <typename Source>
View Moved(const View& view, std::vector<int64_t> dims, const Source& source) {
  View moved{std::move(dims), {}};
  const int64_t count = CheckedElements(moved.dims);
  moved.from.reserve(static_cast<size_t>(count));
  std::vector<int64_t> at(moved.dims.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    moved.from.push_back(static_cast<int32_t>(view.at(source(at))));
    for (size_t d = at.size(); d-- > 0;) {
      if (++at[d] < moved.dims[d]) break;
      at[d] = 0;
    }
  }
  return moved;
}

std::vector<int64_t> StridesOf(const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;) strides[d - 1] = strides[d] * dims[d];
  return strides;
}

int64_t Offset(const std::vector<int64_t>& at, const std::vector<int64_t>& strides) {
  return std::inner_product(at.begin(), at.end(), strides.begin(), int64_t{0});
}

// Which of the axes of `rank` are named, each once.
std::vector<bool> Named(std::vector<int64_t>& axes, int64_t rank) {
  std::vector<bool> named(static_cast<size_t>(rank), false);
  for (int64_t& axis : axes) {
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || named[static_cast<size_t>(axis)])
      throw InputError(fmt::format("axis {} of {} dimensions is outside, or named twice", axis, rank));
    named[static_cast<size_t>(axis)] = true;
  }
  return named;
}

}  // namespace

int64_t View::elements() const {
  return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
}

View ViewOf(const ValueShape& shape, int rank) {
  if (shape.flat) return {{1, shape.channels}, {}};
  if (rank == 3) return {{1, shape.channels, shape.height * shape.width}, {}};
  return {{1, shape.channels, shape.height, shape.width}, {}};
}

int64_t AxisOf(const View& view, int64_t axis) {
  const int64_t from_front = axis < 0 ? axis + view.rank() : axis;
  if (from_front < 0 || from_front >= view.rank())
    throw InputError(fmt::format("axis {} is outside a tensor of {} dimensions", axis, view.rank()));
  return from_front;
}

View Reshaped(const View& view, const std::vector<int64_t>& sizes, bool zero_is_kept) {
  View result{sizes, view.from};
  const int64_t count = view.elements();
  int64_t known = 1, open = -1;
  const auto fail = [&] {
    throw InputError(
        fmt::format("[{}] (one image) cannot have the shape [{}]", fmt::join(view.dims, ", "), fmt::join(sizes, ", ")));
  };
  for (size_t d = 0; d < sizes.size(); ++d) {
    int64_t& size = result.dims[d];
    if (size == 0 && zero_is_kept) {
      if (d >= view.dims.size()) fail();
      size = view.dims[d];
    }
    if (size == -1 && open < 0) {
      open = static_cast<int64_t>(d);
      continue;
    }
    if (size < 1 || size > count) fail();
    known *= size;
    if (known > count) fail();
  }
  if (open >= 0) result.dims[static_cast<size_t>(open)] = count / known;
  if (result.elements() != count) fail();
  return result;
}

View Transposed(const View& view, const std::vector<int64_t>& permutation) {
  std::vector<int64_t> order = permutation;
  if (order.empty()) {
    order.resize(view.dims.size());
    std::iota(order.rbegin(), order.rend(), 0);
  }
  if (static_cast<int64_t>(order.size()) != view.rank())
    throw InputError(fmt::format("{} axes are moved, and the tensor has {}", order.size(), view.rank()));
  Named(order, view.rank());
  const std::vector<int64_t> strides = StridesOf(view.dims);
  std::vector<int64_t> dims, moved_strides;
  std::vector<int64_t> longer;  // the order of axes that are longer than 1: moving others moves nothing
  for (const int64_t axis : order) {
    dims.push_back(view.dims[static_cast<size_t>(axis)]);
    moved_strides.push_back(strides[static_cast<size_t>(axis)]);
    if (dims.back() > 1) longer.push_back(axis);
  }
  if (std::is_sorted(longer.begin(), longer.end())) return {dims, view.from};
  return Moved(view, dims, [&](const std::vector<int64_t>& at) { return Offset(at, moved_strides); });
}

View Sliced(const View& view, int64_t axis, int64_t start, int64_t end, int64_t step) {
  axis = AxisOf(view, axis);
  const int64_t size = view.dims[static_cast<size_t>(axis)];
  if (step == 0) throw InputError("a slice of step 0");
  step = std::clamp(step, -size - 1, size + 1);  // longer ones take one element too
  const auto within = [&](int64_t at, int64_t low, int64_t high) {
    return std::clamp(at < 0 ? std::max(at, -size - 1) + size : at, low, high);
  };
  const int64_t first = step > 0 ? within(start, 0, size) : within(start, 0, size - 1);
  const int64_t last = step > 0 ? within(end, 0, size) : within(end, -1, size - 1);
  std::vector<int64_t> indices;
  for (int64_t i = first; step > 0 ? i < last : i > last; i += step) indices.push_back(i);
  return Gathered(view, axis, indices);
}

View Gathered(const View& view, int64_t axis, std::span<const int64_t> indices) {
  axis = AxisOf(view, axis);
  const int64_t size = view.dims[static_cast<size_t>(axis)];
  std::vector<int64_t> dims = view.dims, chosen;
  bool is_all = static_cast<int64_t>(indices.size()) == size;
  for (const int64_t index : indices) {
    chosen.push_back(index < 0 ? index + size : index);
    if (chosen.back() < 0 || chosen.back() >= size)
      throw InputError(fmt::format("index {} is outside an axis of {}", index, size));
    is_all = is_all && chosen.back() == static_cast<int64_t>(chosen.size()) - 1;
  }
  if (is_all) return view;
  if (chosen.empty()) throw InputError("nothing is left of a tensor");
  dims[static_cast<size_t>(axis)] = static_cast<int64_t>(chosen.size());
  const std::vector<int64_t> strides = StridesOf(view.dims);
  return Moved(view, dims, [&](const std::vector<int64_t>& at) {
    const auto a = static_cast<size_t>(axis);
    return Offset(at, strides) + (chosen[static_cast<size_t>(at[a])] - at[a]) * strides[a];
  });
}

View WithoutAxes(const View& view, std::vector<int64_t> axes) {
  const bool all = axes.empty();
  const std::vector<bool> named = Named(axes, view.rank());
  View result{{}, view.from};
  for (size_t d = 0; d < view.dims.size(); ++d) {
    if (named[d] && view.dims[d] != 1)
      throw InputError(fmt::format("axis {} has the size {}, expected 1", d, view.dims[d]));
    if (!named[d] && !(all && view.dims[d] == 1)) result.dims.push_back(view.dims[d]);
  }
  return result;
}

View WithAxes(const View& view, std::vector<int64_t> axes) {
  const std::vector<bool> named = Named(axes, view.rank() + static_cast<int64_t>(axes.size()));
  View result{{}, view.from};
  size_t next = 0;
  for (const bool is_new : named) result.dims.push_back(is_new ? 1 : view.dims[next++]);
  return result;
}

std::vector<int64_t> BroadcastDims(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  const auto& longer = a.size() < b.size() ? b : a;
  const auto& shorter = a.size() < b.size() ? a : b;
  std::vector<int64_t> dims = longer;
  const size_t ahead = longer.size() - shorter.size();
  for (size_t d = 0; d < shorter.size(); ++d) {
    int64_t& size = dims[ahead + d];
    if (size != shorter[d] && size != 1 && shorter[d] != 1)
      throw InputError(
          fmt::format("shapes [{}] and [{}] do not fit to each other", fmt::join(a, ", "), fmt::join(b, ", ")));
    if (size == 1) size = shorter[d];
  }
  return dims;
}

View Broadcast(const View& view, const std::vector<int64_t>& dims) {
  if (BroadcastDims(view.dims, dims) != dims)
    throw InputError(
        fmt::format("[{}] cannot be broadcast to [{}]", fmt::join(view.dims, ", "), fmt::join(dims, ", ")));
  if (CheckedElements(dims) == view.elements()) return {dims, view.from};
  std::vector<int64_t> strides = StridesOf(view.dims);
  for (size_t d = 0; d < strides.size(); ++d) {
    if (view.dims[d] == 1) strides[d] = 0;
  }
  strides.insert(strides.begin(), dims.size() - strides.size(), 0);
  return Moved(view, dims, [&](const std::vector<int64_t>& at) { return Offset(at, strides); });
}

std::optional<Selection> SelectionOf(const View& view, const ValueShape& value) {
  if (view.from.empty()) return {};
  std::vector<int32_t> number(static_cast<size_t>(value.elements()), -1);
  for (const int32_t from : view.from) number[static_cast<size_t>(from)] = 0;
  Selection selection;
  for (size_t i = 0; i < number.size(); ++i) {
    if (number[i] < 0) continue;
    number[i] = static_cast<int32_t>(selection.from.size());
    selection.from.push_back(static_cast<int32_t>(i));
  }
  if (selection.from.size() == number.size()) return {};
  selection.view.dims = view.dims;
  for (const int32_t from : view.from) selection.view.from.push_back(number[static_cast<size_t>(from)]);
  // Some positions of some channels, the same of each?
  const int64_t positions = value.height * value.width, count = static_cast<int64_t>(selection.from.size());
  int64_t each = 0;
  while (each < count && selection.from[static_cast<size_t>(each)] / positions == selection.from[0] / positions) ++each;
  bool is_regular = !value.flat && count % each == 0;
  for (int64_t i = 0; is_regular && i < count; ++i) {
    const int64_t from = selection.from[static_cast<size_t>(i)],
                  begin = selection.from[static_cast<size_t>(i - i % each)];
    is_regular = from / positions == begin / positions &&
                 from % positions == selection.from[static_cast<size_t>(i % each)] % positions;
  }
  if (!is_regular)
    selection.shape = {count, 1, 1, value.flat};
  else if (each == positions)
    selection.shape = {count / each, value.height, value.width};
  else
    selection.shape = {count / each, 1, each};
  return selection;
}

}  // namespace steadfast::model
