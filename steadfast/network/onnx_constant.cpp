#include "steadfast/network/onnx_constant.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::network {
namespace {

using model::OnnxNode;
using model::View;

constexpr int64_t kMostElements = int64_t{1} << 33;

// -1 where the shape is impossible.
int64_t ElementsOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && count > kMostElements / size)) return -1;
    count *= size;
  }
  return count;
}

double At(const Constant& constant, int64_t i) {
  const auto at = static_cast<size_t>(i);
  return constant.is_float ? double{constant.floats[at]} : static_cast<double>(constant.integers[at]);
}

// Element by element, of two that are broadcast to each other.
Constant Combined(const OnnxNode& node, const Constant& a, const Constant& b,
                  const std::function<float(float, float)>& of_floats,
                  const std::function<int64_t(int64_t, int64_t)>& of_integers) {
  if (a.is_float != b.is_float) node.Fail("combines an integer and a real constant");
  Constant result{.shape = model::BroadcastDims(a.shape, b.shape), .is_float = a.is_float};
  const Constant left = Moved(a, Broadcast(View{a.shape, {}}, result.shape));
  const Constant right = Moved(b, Broadcast(View{b.shape, {}}, result.shape));
  for (size_t i = 0; i < static_cast<size_t>(left.elements()); ++i) {
    if (a.is_float)
      result.floats.push_back(of_floats(left.floats[i], right.floats[i]));
    else
      result.integers.push_back(of_integers(left.integers[i], right.integers[i]));
  }
  return result;
}

Constant Arithmetic(const OnnxNode& node, const Constant& a, const Constant& b) {
  const std::string& type = node.type();
  const auto wide = [](int64_t x) { return static_cast<uint64_t>(x); };  // wraps
  const auto narrow = [](uint64_t x) { return static_cast<int64_t>(x); };
  if (type == "Add") {
    return Combined(node, a, b, std::plus<float>(), [&](int64_t x, int64_t y) { return narrow(wide(x) + wide(y)); });
  }
  if (type == "Sub") {
    return Combined(node, a, b, std::minus<float>(), [&](int64_t x, int64_t y) { return narrow(wide(x) - wide(y)); });
  }
  if (type == "Mul") {
    return Combined(node, a, b, std::multiplies<float>(),
                    [&](int64_t x, int64_t y) { return narrow(wide(x) * wide(y)); });
  }
  if (type == "Pow") {
    return Combined(
        node, a, b, [](float x, float y) { return std::pow(x, y); },
        [&](int64_t, int64_t) -> int64_t { node.Fail("of integers is not taken"); });
  }
  return Combined(node, a, b, std::divides<float>(), [&](int64_t x, int64_t y) -> int64_t {
    if (y == 0 || (x == std::numeric_limits<int64_t>::min() && y == -1)) node.Fail("divides integers by 0");
    return x / y;
  });
}

Constant Cast(const OnnxNode& node, const Constant& from) {
  const int64_t to = node.Int("to", 0);
  Constant result{.name = from.name, .shape = from.shape};
  result.is_float = to == onnx::TensorProto::FLOAT || to == onnx::TensorProto::DOUBLE;
  const bool is_integer =
      to == onnx::TensorProto::INT64 || to == onnx::TensorProto::INT32 || to == onnx::TensorProto::BOOL;
  if (!result.is_float && !is_integer) node.Fail("of constants is only taken to float32, int32, int64 and bool");
  if (result.is_float == from.is_float && to != onnx::TensorProto::BOOL) return from;
  for (int64_t i = 0; i < from.elements(); ++i) {
    const double value = At(from, i);
    if (result.is_float) {
      result.floats.push_back(static_cast<float>(value));
    } else if (to == onnx::TensorProto::BOOL) {
      result.integers.push_back(value != 0);
    } else {
      if (!(std::abs(value) < 9e18)) node.Fail(fmt::format("{} is not an integer", value));
      result.integers.push_back(static_cast<int64_t>(value));
    }
  }
  result.name.clear();
  return result;
}

Constant Joined(const OnnxNode& node, std::span<const Constant* const> inputs) {
  const Constant& first = *inputs[0];
  const int64_t axis = model::AxisOf(View{first.shape, {}}, node.Int("axis", 0));
  const auto at = static_cast<size_t>(axis);
  Constant joined{.shape = first.shape, .is_float = first.is_float};
  joined.shape[at] = 0;
  int64_t before = 1;
  for (size_t d = 0; d < at; ++d) before *= first.shape[d];
  for (const Constant* part : inputs) {
    std::vector<int64_t> others = part->shape;
    if (part->is_float != first.is_float || others.size() != first.shape.size()) node.Fail("joins unlike constants");
    others[at] = first.shape[at];
    if (others != first.shape) node.Fail("joins constants that differ in other dimensions too");
    joined.shape[at] += part->shape[at];
  }
  for (int64_t block = 0; block < before; ++block) {
    for (const Constant* part : inputs) {
      const int64_t size = part->elements() / std::max<int64_t>(before, 1);
      if (part->is_float)
        joined.floats.insert(joined.floats.end(), part->floats.begin() + block * size,
                             part->floats.begin() + (block + 1) * size);
      else
        joined.integers.insert(joined.integers.end(), part->integers.begin() + block * size,
                               part->integers.begin() + (block + 1) * size);
    }
  }
  return joined;
}

Constant Filled(const OnnxNode& node, const Constant& shape) {
  if (shape.is_float) node.Fail("its shape must hold integers");
  Constant value{.shape = {1}, .floats = {0.0f}};
  if (const auto* tensor = node.Tensor("value")) {
    if (tensor->data_location() == onnx::TensorProto::EXTERNAL) node.Fail("its value lies in another file");
    onnx::TensorProto copy = *tensor;
    const model::OnnxSource source{node.name(), node.opset()};
    value = ConstantReader(source, {}).Read(copy);
  }
  if (value.elements() != 1) node.Fail("its value must be one number");
  const int64_t count = ElementsOf(shape.integers);
  if (count < 0 || count > (int64_t{1} << 24)) node.Fail("only constants of up to 2^24 elements are taken");
  Constant filled{.shape = shape.integers, .is_float = value.is_float};
  if (filled.is_float)
    filled.floats.assign(static_cast<size_t>(count), value.floats[0]);
  else
    filled.integers.assign(static_cast<size_t>(count), value.integers[0]);
  return filled;
}

Constant Chosen(const OnnxNode& node, const Constant& which, const Constant& yes, const Constant& no) {
  if (which.is_float || yes.is_float != no.is_float) node.Fail("its inputs are of unlike types");
  const auto dims = model::BroadcastDims(which.shape, model::BroadcastDims(yes.shape, no.shape));
  const auto spread = [&](const Constant& c) { return Moved(c, Broadcast(View{c.shape, {}}, dims)); };
  const Constant choice = spread(which), other = spread(no);
  Constant result = spread(yes);
  result.name.clear();
  result.origin.clear();
  for (size_t i = 0; i < choice.integers.size(); ++i) {
    if (choice.integers[i] != 0) continue;
    if (result.is_float)
      result.floats[i] = other.floats[i];
    else
      result.integers[i] = other.integers[i];
  }
  return result;
}

}  // namespace

Constant Moved(const Constant& constant, const View& view) {
  Constant moved{.name = view.from.empty() ? constant.name : "",
                 .origin = constant.origin,
                 .shape = view.dims,
                 .is_float = constant.is_float};
  if (view.from.empty()) {
    moved.floats = constant.floats;
    moved.integers = constant.integers;
    return moved;
  }
  for (const int32_t from : view.from) {
    if (constant.is_float)
      moved.floats.push_back(constant.floats[static_cast<size_t>(from)]);
    else
      moved.integers.push_back(constant.integers[static_cast<size_t>(from)]);
  }
  return moved;
}

std::optional<Constant> Folded(const OnnxNode& node, std::span<const Constant* const> inputs) {
  const std::string& type = node.type();
  if (inputs.empty()) return {};
  const Constant& first = *inputs[0];
  if (inputs.size() == 2 && (type == "Add" || type == "Sub" || type == "Mul" || type == "Div" || type == "Pow"))
    return Arithmetic(node, first, *inputs[1]);
  if (inputs.size() == 2 && type == "Equal") {
    Constant equal = Combined(
        node, first, *inputs[1], [](float a, float b) { return a == b ? 1.0f : 0.0f; },
        [](int64_t a, int64_t b) { return int64_t{a == b}; });
    if (equal.is_float) equal.integers.assign(equal.floats.begin(), equal.floats.end());
    equal.is_float = false;
    equal.floats.clear();
    return equal;
  }
  if (type == "Concat") return Joined(node, inputs);
  if (inputs.size() == 3 && type == "Where") return Chosen(node, first, *inputs[1], *inputs[2]);
  if (inputs.size() != 1) return {};
  if (type == "Cast") return Cast(node, first);
  if (type == "ConstantOfShape") return Filled(node, first);
  if (first.is_float && (type == "Sqrt" || type == "Neg" || type == "Floor" || type == "Reciprocal")) {
    Constant result = first;
    result.name.clear();
    result.origin.clear();
    for (float& value : result.floats) {
      value = type == "Sqrt"    ? std::sqrt(value)
              : type == "Neg"   ? -value
              : type == "Floor" ? std::floor(value)
                                : 1 / value;
    }
    return result;
  }
  return {};
}

void ConstantReader::FetchExternal(onnx::TensorProto& tensor) {
  if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return;
  const std::string where = fmt::format("tensor '{}'", tensor.name());
  std::string location;
  int64_t offset = 0, length = -1;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = std::strtoll(entry.value().c_str(), nullptr, 10);
    if (entry.key() == "length") length = std::strtoll(entry.value().c_str(), nullptr, 10);
  }
  const std::filesystem::path path(location);
  const bool leaves = path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
  if (location.empty() || leaves)
    source_.Fail(where, fmt::format("keeps its data in '{}', which is not a file beside the model", location));
  auto found = external_.find(location);
  if (found == external_.end()) found = external_.emplace(location, ReadFile(folder_ / path, uint64_t{1} << 32)).first;
  const auto size = static_cast<int64_t>(found->second.size());
  if (length < 0) length = size - offset;
  if (offset < 0 || length < 0 || offset > size || length > size - offset)
    source_.Fail(where, fmt::format("its data would be bytes {} to {} of {}, which has {}", offset, offset + length,
                                    (folder_ / path).string(), size));
  tensor.set_raw_data(found->second.data() + offset, static_cast<size_t>(length));
  tensor.clear_external_data();
  tensor.set_data_location(onnx::TensorProto::DEFAULT);
}

Constant ConstantReader::Read(onnx::TensorProto& tensor) {
  FetchExternal(tensor);
  const std::string where = fmt::format("tensor '{}'", tensor.name());
  Constant constant{
      .name = tensor.name(), .origin = tensor.name(), .shape = {tensor.dims().begin(), tensor.dims().end()}};
  if (tensor.data_type() == onnx::TensorProto::FLOAT) {
    constant.floats = model::FloatsOf(tensor, source_);
    return constant;
  }
  constant.is_float = false;
  if (tensor.data_type() == onnx::TensorProto::INT64) {
    constant.integers = model::Int64sOf(tensor, source_);
  } else if (tensor.data_type() == onnx::TensorProto::BOOL) {
    if (tensor.has_raw_data())
      for (const char byte : tensor.raw_data()) constant.integers.push_back(byte != 0);
    else
      constant.integers.assign(tensor.int32_data().begin(), tensor.int32_data().end());
  } else if (tensor.data_type() == onnx::TensorProto::DOUBLE || tensor.data_type() == onnx::TensorProto::FLOAT16) {
    source_.Fail(where, "is not float32; convert the model to float32 before exporting it");
  } else {
    const auto values = model::IntegersOf(tensor, source_);
    constant.integers.assign(values.begin(), values.end());
  }
  if (ElementsOf(constant.shape) != constant.elements())
    source_.Fail(where, fmt::format("has {} values, expected {}", constant.elements(), ElementsOf(constant.shape)));
  return constant;
}

Constant ConstantReader::Read(const OnnxNode& node) {
  if (const auto* value = node.Tensor("value")) {
    onnx::TensorProto copy = *value;
    if (copy.name().empty()) copy.set_name(node.output());
    return Read(copy);
  }
  Constant constant{.name = node.output()};
  if (node.Has("value_float") || node.Has("value_floats")) {
    constant.floats = node.Has("value_float") ? std::vector{static_cast<float>(node.Float("value_float", 0))}
                                              : node.Floats("value_floats");
    if (node.Has("value_floats")) constant.shape = {constant.elements()};
    return constant;
  }
  if (!node.Has("value_int") && !node.Has("value_ints")) node.Fail("has no value that is taken");
  constant.is_float = false;
  constant.integers = node.Has("value_int") ? std::vector<int64_t>{node.Int("value_int", 0)} : node.Ints("value_ints");
  if (node.Has("value_ints")) constant.shape = {constant.elements()};
  return constant;
}

}  // namespace steadfast::network
