#include "steadfast/network/float_flow.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "steadfast/base/error.h"

namespace steadfast::network {
namespace {

int32_t Narrow(int64_t i) {
  return static_cast<int32_t>(i);
}

int64_t PositionsOf(const ValueShape& shape) {
  return shape.height * shape.width;
}

std::vector<int32_t> FromOf(const View& view) {
  if (!view.from.empty()) return view.from;
  std::vector<int32_t> all(static_cast<size_t>(view.elements()));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// A tensor seen as [groups, rows, columns].
struct Matrices {
  const Flow& flow;
  int64_t groups, rows, columns;
  int64_t at(int64_t g, int64_t r, int64_t c) const { return flow.view.at((g * rows + r) * columns + c); }
  // Whether the value lies as [groups * rows, columns]; or, transposed, as [groups * columns, rows].
  bool Lies(const ValueShape& shape, bool transposed) const {
    const int64_t first = transposed ? columns : rows, second = transposed ? rows : columns;
    if (shape.flat || shape.channels != groups * first || PositionsOf(shape) != second) return false;
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          const int64_t expected = transposed ? (g * columns + c) * rows + r : (g * rows + r) * columns + c;
          if (at(g, r, c) != expected) return false;
        }
      }
    }
    return true;
  }
  std::vector<int32_t> From(bool transposed) const {
    std::vector<int32_t> from;
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t a = 0; a < (transposed ? columns : rows); ++a) {
        for (int64_t b = 0; b < (transposed ? rows : columns); ++b)
          from.push_back(Narrow(transposed ? at(g, b, a) : at(g, a, b)));
      }
    }
    return from;
  }
};

}  // namespace

std::string FlowBuilder::Unique(const std::string& wanted) {
  std::string name = wanted;
  for (int number = 2; !names_.insert(name).second; ++number) name = fmt::format("{}_{}", wanted, number);
  return name;
}

Flow FlowBuilder::Add(const std::string& name, FloatOperation operation, std::vector<int> inputs, int64_t rank) {
  return Of(builder_.AddNode(name, std::move(operation), std::move(inputs)), rank);
}

Flow FlowBuilder::OfEach(const std::string& name, FloatOperation operation, const Flow& flow) {
  const Flow whole = Whole(flow);
  return {builder_.AddNode(name, std::move(operation), {whole.value}), whole.view};
}

int FlowBuilder::Rearranged(const Flow& flow, const ValueShape& shape, std::vector<int32_t> from) {
  bool is_same = static_cast<int64_t>(from.size()) == this->shape(flow.value).elements();
  for (size_t i = 0; is_same && i < from.size(); ++i) is_same = from[i] == static_cast<int32_t>(i);
  if (is_same && shape == this->shape(flow.value)) return flow.value;
  std::vector<int32_t> key = from;
  for (const int64_t size : {shape.channels, shape.height, shape.width, int64_t{shape.flat}})
    key.push_back(Narrow(size));
  const auto found = rearranged_.find({flow.value, key});
  if (found != rearranged_.end()) return found->second;
  std::string name = flow.name;  // which is reserved, for one node
  if (name.empty())
    name = Unique(builder_.graph_.value(flow.value).name + ".moved");
  else if (!moved_.insert(name).second)
    name = Unique(name);
  const int result = is_same && shape.flat ? builder_.AddNode(name, Flatten{}, {flow.value})
                                           : builder_.AddNode(name, Rearrange{shape, std::move(from)}, {flow.value});
  rearranged_[{flow.value, std::move(key)}] = result;
  return result;
}

Flow FlowBuilder::Whole(const Flow& flow) {
  const auto selection = model::SelectionOf(flow.view, shape(flow.value));
  Flow whole = flow;
  if (selection) {
    whole.value = Rearranged(flow, selection->shape, selection->from);
    whole.view = selection->view;
    bool is_plain = whole.view.from.size() == selection->from.size();
    for (size_t i = 0; is_plain && i < whole.view.from.size(); ++i)
      is_plain = whole.view.from[i] == static_cast<int32_t>(i);
    if (is_plain) whole.view.from.clear();
  }
  if (whole.view.elements() == shape(whole.value).elements()) return whole;
  // Some of it is repeated.
  const std::vector<int64_t>& dims = whole.view.dims;
  ValueShape repeated{1, 1, whole.view.elements()};
  if (dims.size() == 4 && dims[0] == 1) repeated = {dims[1], dims[2], dims[3]};
  whole.value = Rearranged(whole, repeated, whole.view.from);
  whole.view.from.clear();
  return whole;
}

int FlowBuilder::Image(const Flow& flow) {
  const std::vector<int64_t>& dims = flow.view.dims;
  if (dims.size() < 2 || dims.size() > 4 || dims[0] != 1)
    throw InputError(fmt::format("takes a tensor of shape [{}] (one image), expected [N, C, H, W], [N, C, L] or [N, C]",
                                 fmt::join(dims, ", ")));
  ValueShape wanted{dims[1], 1, 1, dims.size() == 2};
  if (dims.size() == 3) wanted.width = dims[2];
  if (dims.size() == 4) wanted = {dims[1], dims[2], dims[3]};
  return Rearranged(flow, wanted, FromOf(flow.view));
}

bool FlowBuilder::HasChannelsLast(const Flow& flow) const {
  const ValueShape& shape = this->shape(flow.value);
  if (flow.view.dims.empty() || flow.view.dims.back() != shape.channels || flow.view.elements() != shape.elements())
    return false;
  const int64_t channels = shape.channels, positions = PositionsOf(shape);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    if (flow.view.at(i) != i % channels * positions + i / channels) return false;
  }
  return true;
}

View FlowBuilder::ChannelsLastView(std::vector<int64_t> dims, int64_t channels) const {
  dims.back() = channels;
  View view{std::move(dims), {}};
  const int64_t positions = view.elements() / channels;
  if (positions == 1) return view;
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t c = 0; c < channels; ++c) view.from.push_back(Narrow(c * positions + p));
  }
  return view;
}

Flow FlowBuilder::ChannelsLast(const Flow& flow) {
  if (flow.view.dims.empty()) throw InputError("takes a tensor without dimensions");
  if (HasChannelsLast(flow)) return flow;
  const Flow whole = Whole(flow);
  if (HasChannelsLast(whole)) return whole;
  const int64_t channels = whole.view.dims.back(), positions = whole.view.elements() / channels;
  std::vector<int32_t> from;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t p = 0; p < positions; ++p) from.push_back(Narrow(whole.view.at(p * channels + c)));
  }
  const ValueShape wanted{channels, 1, positions, positions == 1};
  return {Rearranged(whole, wanted, std::move(from)), ChannelsLastView(whole.view.dims, channels)};
}

Flow FlowBuilder::Connect(const std::string& name, const Flow& flow, int weight, int bias) {
  const Flow tokens = ChannelsLast(flow);
  FloatParameter& weights = builder_.graph_.parameters[static_cast<size_t>(weight)];
  const int64_t outputs = weights.shape[0];
  const View view = ChannelsLastView(tokens.view.dims, outputs);
  int value = tokens.value;
  if (PositionsOf(shape(value)) == 1) {
    if (!shape(value).flat)
      value = Rearranged(tokens, {shape(value).channels, 1, 1, true}, FromOf(View{{1, shape(value).channels}, {}}));
    return {builder_.AddNode(name, Linear{weight, bias}, {value}), view};
  }
  weights.shape = {outputs, weights.shape[1], 1, 1};
  return {builder_.AddNode(name, Convolution{Window{}, 1, weight, bias}, {value}), view};
}

std::vector<float> FlowBuilder::OverElements(const Flow& flow, const std::vector<float>& constant,
                                             const std::vector<int64_t>& dims) const {
  const View over = model::Broadcast(View{dims, {}}, flow.view.dims);
  std::vector<float> values(static_cast<size_t>(flow.view.elements()));
  for (int64_t i = 0; i < flow.view.elements(); ++i)
    values[static_cast<size_t>(flow.view.at(i))] = constant[static_cast<size_t>(over.at(i))];
  return values;
}

int FlowBuilder::Aligned(const Flow& a, const Flow& b) {
  const View over = model::Broadcast(b.view, a.view.dims);
  std::vector<int32_t> from(static_cast<size_t>(a.view.elements()));
  for (int64_t i = 0; i < a.view.elements(); ++i) from[static_cast<size_t>(a.view.at(i))] = Narrow(over.at(i));
  return Rearranged(b, shape(a.value), std::move(from));
}

Flow FlowBuilder::Sum(const std::string& name, const Flow& left, const Flow& right) {
  Flow a = Whole(left), b = Whole(right);
  const std::vector<int64_t> dims = model::BroadcastDims(a.view.dims, b.view.dims);
  const bool swapped = a.view.elements() < b.view.elements();
  if (swapped) std::swap(a, b);
  if (View{dims, {}}.elements() != a.view.elements())
    throw InputError("adds two values, neither of which has the shape of the result");
  a.view.dims = dims;
  const int other = Aligned(a, b);
  const std::vector<int> inputs = swapped ? std::vector<int>{other, a.value} : std::vector<int>{a.value, other};
  return {builder_.AddNode(name, network::Add{}, inputs), a.view};
}

Flow FlowBuilder::Gate(const std::string& name, const Flow& left, const Flow& right) {
  Flow a = Whole(left), b = Whole(right);
  const std::vector<int64_t> dims = model::BroadcastDims(a.view.dims, b.view.dims);
  if (a.view.elements() < b.view.elements()) std::swap(a, b);
  if (View{dims, {}}.elements() != a.view.elements())
    throw InputError("multiplies two values, neither of which has the shape of the result");
  a.view.dims = dims;
  // One number a channel?
  const ValueShape& shape = this->shape(a.value);
  const View over = model::Broadcast(b.view, dims);
  bool is_a_channels = b.view.elements() == shape.channels && PositionsOf(shape) > 1;
  for (int64_t i = 0; is_a_channels && i < a.view.elements(); ++i)
    is_a_channels = over.at(i) == a.view.at(i) / PositionsOf(shape);
  const int other = is_a_channels
                        ? Rearranged(b, {shape.channels, 1, 1, shape.flat}, FromOf(View{{shape.channels}, {}}))
                        : Aligned(a, b);
  return {builder_.AddNode(name, Multiply{}, {a.value, other}), a.view};
}

Flow FlowBuilder::SoftmaxOver(const std::string& name, const Flow& flow, int64_t axis) {
  axis = model::AxisOf(flow.view, axis);
  const Flow whole = Whole(flow);
  const std::vector<int64_t>& dims = whole.view.dims;
  const int64_t size = dims[static_cast<size_t>(axis)];
  int64_t stride = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < dims.size(); ++d) stride *= dims[d];
  const ValueShape& shape = this->shape(whole.value);
  const int64_t positions = PositionsOf(shape), count = whole.view.elements();
  bool fits = shape.channels % size == 0 && (!shape.flat || shape.channels == size);
  for (int64_t i = 0; fits && i < count; ++i) {
    const int64_t along = i / stride % size, first = whole.view.at(i - along * stride);
    fits = first / positions % size == 0 && whole.view.at(i) == first + along * positions;
  }
  if (fits) {
    const int groups = static_cast<int>(shape.channels / size);
    return {builder_.AddNode(name, Softmax{groups}, {whole.value}), whole.view};
  }
  const int64_t others = count / size;
  std::vector<int32_t> from(static_cast<size_t>(count));
  View view{dims, std::vector<int32_t>(static_cast<size_t>(count))};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t to = i / stride % size * others + i / (stride * size) * stride + i % stride;
    from[static_cast<size_t>(to)] = Narrow(whole.view.at(i));
    view.from[static_cast<size_t>(i)] = Narrow(to);
  }
  const int moved = Rearranged(whole, {size, 1, others}, std::move(from));
  return {builder_.AddNode(name, Softmax{1}, {moved}), view};
}

Flow FlowBuilder::Multiplied(const std::string& name, const Flow& left, const Flow& right, bool softmax_is_last) {
  const Flow a = Whole(left), b = Whole(right);
  const std::vector<int64_t>&da = a.view.dims, &db = b.view.dims;
  const size_t rank = da.size();
  if (rank < 2 || db.size() != rank || !std::equal(da.begin(), da.end() - 2, db.begin()) ||
      da[rank - 1] != db[rank - 2])
    throw InputError(fmt::format("multiplies matrices of shapes [{}] and [{}], which is not taken", fmt::join(da, ", "),
                                 fmt::join(db, ", ")));
  const int64_t m = da[rank - 2], k = da[rank - 1], n = db[rank - 1], groups = a.view.elements() / (m * k);
  const Matrices of_a{a, groups, m, k}, of_b{b, groups, k, n};
  const ValueShape &shape_a = shape(a.value), &shape_b = shape(b.value);
  // The product itself: rows of a, or their transpose, times b as it lies; or its transpose, the other way round.
  const bool a_lies = of_a.Lies(shape_a, false), a_turned = of_a.Lies(shape_a, true);
  const bool b_lies = of_b.Lies(shape_b, false), b_turned = of_b.Lies(shape_b, true);
  const int straight = !(a_lies || a_turned) + !b_lies, turned = !(b_lies || b_turned) + !a_turned;
  const float factor = a.factor * b.factor;
  std::vector<int64_t> dims = da;
  dims[rank - 1] = n;
  const auto value_of = [&](const Matrices& of, bool lies, bool transposed) {
    if (lies) return of.flow.value;
    const int64_t rows = transposed ? of.columns : of.rows, columns = transposed ? of.rows : of.columns;
    return Rearranged(of.flow, {groups * rows, 1, columns}, of.From(transposed));
  };
  if (straight < turned || (straight == turned && !softmax_is_last)) {
    const int first = value_of(of_a, a_lies || a_turned, false), second = value_of(of_b, b_lies, false);
    return {builder_.AddNode(name, Product{a_turned && !a_lies, static_cast<int>(groups), factor}, {first, second}),
            {dims, {}}};
  }
  const int first = value_of(of_b, b_lies || b_turned, true), second = value_of(of_a, a_turned, true);
  const bool is_transposed = b_lies && !b_turned;
  View view{dims, {}};
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t row = 0; row < m; ++row) {
      for (int64_t column = 0; column < n; ++column) view.from.push_back(Narrow((g * n + column) * m + row));
    }
  }
  return {builder_.AddNode(name, Product{is_transposed, static_cast<int>(groups), factor}, {first, second}), view};
}

Flow FlowBuilder::Mean(const std::string& name, const Flow& flow, std::vector<int64_t> axes, bool keeps) {
  Flow whole = Whole(flow);
  const size_t rank = whole.view.dims.size();
  std::vector<bool> is_reduced(rank, axes.empty());
  for (const int64_t axis : axes) is_reduced[static_cast<size_t>(model::AxisOf(whole.view, axis))] = true;
  std::vector<int64_t> order, kept, dims;
  for (size_t d = 0; d < rank; ++d) {
    if (!is_reduced[d]) order.push_back(static_cast<int64_t>(d));
    if (!is_reduced[d]) kept.push_back(whole.view.dims[d]);
    if (keeps || !is_reduced[d]) dims.push_back(is_reduced[d] ? 1 : whole.view.dims[d]);
  }
  for (size_t d = 0; d < rank; ++d) {
    if (is_reduced[d]) order.push_back(static_cast<int64_t>(d));
  }
  const View sorted = model::Transposed(whole.view, order);
  const int64_t channels = View{kept, {}}.elements(), positions = sorted.elements() / channels;
  const ValueShape shape = this->shape(whole.value);
  bool fits = !shape.flat && shape.channels == channels && PositionsOf(shape) == positions;
  for (int64_t i = 0; fits && i < sorted.elements(); ++i) fits = sorted.at(i) / positions == i / positions;
  if (!fits) whole.value = Rearranged(whole, {channels, 1, positions}, FromOf(sorted));
  const bool flattens = dims.size() == 2 && dims[0] == 1;
  const int mean = builder_.AveragePoolAll(whole.value, name);
  if (!flattens) return {mean, {dims, {}}};
  return Add(Unique(name + ".flat"), Flatten{}, {mean}, 2);
}

Flow FlowBuilder::Joined(const std::string& name, const std::vector<Flow>& parts, int64_t axis) {
  axis = model::AxisOf(parts[0].view, axis);
  const auto at = static_cast<size_t>(axis);
  std::vector<int64_t> dims = parts[0].view.dims;
  dims[at] = 0;
  for (const Flow& part : parts) {
    std::vector<int64_t> others = part.view.dims;
    const int64_t size = others.size() == dims.size() ? std::exchange(others[at], dims[at]) : 0;
    if (others != dims)
      throw InputError(fmt::format("joins tensors of shapes [{}] and [{}] along axis {}",
                                   fmt::join(parts[0].view.dims, ", "), fmt::join(part.view.dims, ", "), axis));
    dims[at] += size;
  }
  std::vector<int> values;
  // Channels, where they lie as such: of [N, T, C] the second dimension is none.
  const auto lies = [&](const Flow& part) { return part.view == Of(part.value, part.view.rank()).view; };
  const bool of_images = axis == 1 && dims[0] == 1 &&
                         (dims.size() == 2 || dims.size() == 4 || std::all_of(parts.begin(), parts.end(), lies));
  if (of_images) {
    for (const Flow& part : parts) values.push_back(Image(part));
    return Add(name, Concatenate{}, values, static_cast<int64_t>(dims.size()));
  }
  const bool is_last = at + 1 == dims.size();
  if (is_last) {
    bool same = true;
    for (const Flow& part : parts) {
      const Flow tokens = ChannelsLast(part);
      values.push_back(tokens.value);
      const ValueShape &first = shape(values[0]), &own = shape(tokens.value);
      same = same && own.height == first.height && own.width == first.width && own.flat == first.flat;
    }
    if (same) return {builder_.AddNode(name, Concatenate{}, values), ChannelsLastView(dims, dims.back())};
    values.clear();
  }
  // The axis as channels, everything else as positions.
  std::vector<int64_t> order = {axis};
  for (size_t d = 0; d < dims.size(); ++d) {
    if (d != at) order.push_back(static_cast<int64_t>(d));
  }
  int64_t others = 1;
  for (const Flow& part : parts) {
    const View moved = model::Transposed(part.view, order);
    others = moved.elements() / moved.dims[0];
    values.push_back(Rearranged(part, {moved.dims[0], 1, others}, FromOf(moved)));
  }
  const int joined = builder_.AddNode(name, Concatenate{}, values);
  std::vector<int64_t> moved_dims, back(dims.size());
  for (size_t d = 0; d < order.size(); ++d) {
    moved_dims.push_back(dims[static_cast<size_t>(order[d])]);
    back[static_cast<size_t>(order[d])] = static_cast<int64_t>(d);
  }
  const Flow flow{joined, model::Transposed(View{moved_dims, {}}, back)};
  return dims.size() == 3 ? ChannelsLast(flow) : flow;  // tokens
}

}  // namespace steadfast::network
