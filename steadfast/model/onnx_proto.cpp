#include "steadfast/model/onnx_proto.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>
#include <tuple>

#include "steadfast/base/error.h"

namespace steadfast::model {
namespace {

std::string WhereOf(const onnx::TensorProto& tensor) {
  return fmt::format("tensor '{}'", tensor.name());
}

int64_t ElementsOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  int64_t elements = 1;
  for (int64_t size : tensor.dims()) {
    if (size < 0 || (size > 0 && elements > (int64_t{1} << 33) / size))
      source.Fail(WhereOf(tensor), "an impossible shape");
    elements *= size;
  }
  return elements;
}

template <typename T>
std::vector<T> RawOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL)
    source.Fail(WhereOf(tensor), "keeps its data in another file, which is not read");
  const int64_t elements = ElementsOf(tensor, source);
  std::vector<T> values;
  if (tensor.has_raw_data()) {
    if (static_cast<int64_t>(tensor.raw_data().size()) != elements * static_cast<int64_t>(sizeof(T))) {
      source.Fail(WhereOf(tensor), fmt::format("has {} bytes of data, expected {}", tensor.raw_data().size(),
                                               elements * static_cast<int64_t>(sizeof(T))));
    }
    values.resize(static_cast<size_t>(elements));
    if (elements > 0) std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
    return values;
  }
  const auto expect = [&](int size) {
    if (size != elements) source.Fail(WhereOf(tensor), fmt::format("has {} values, expected {}", size, elements));
  };
  if constexpr (std::is_same_v<T, float>) {
    expect(tensor.float_data_size());
    values.assign(tensor.float_data().begin(), tensor.float_data().end());
  } else if constexpr (std::is_same_v<T, int64_t>) {
    expect(tensor.int64_data_size());
    values.assign(tensor.int64_data().begin(), tensor.int64_data().end());
  } else {
    expect(tensor.int32_data_size());
    for (int32_t value : tensor.int32_data()) {
      if (static_cast<int32_t>(static_cast<T>(value)) != value)
        source.Fail(WhereOf(tensor), fmt::format("has the value {}, which its type does not hold", value));
      values.push_back(static_cast<T>(value));
    }
  }
  return values;
}

// Two codes a byte, the first in the low nibble.
std::vector<int> NibblesOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  const int64_t elements = ElementsOf(tensor, source);
  std::vector<uint8_t> bytes(tensor.raw_data().begin(), tensor.raw_data().end());
  if (!tensor.has_raw_data()) bytes.assign(tensor.int32_data().begin(), tensor.int32_data().end());
  if (static_cast<int64_t>(bytes.size()) != (elements + 1) / 2) {
    source.Fail(WhereOf(tensor), fmt::format("has {} bytes of data, expected {}", bytes.size(), (elements + 1) / 2));
  }
  std::vector<int> values;
  for (int64_t i = 0; i < elements; ++i) {
    const int byte = bytes[static_cast<size_t>(i / 2)];
    const int nibble = i % 2 == 0 ? byte & 15 : byte >> 4;
    values.push_back(static_cast<int>(tensor.data_type()) == kInt4 && nibble >= 8 ? nibble - 16 : nibble);
  }
  return values;
}

bool IsStandardDomain(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx";
}

}  // namespace

void OnnxSource::Fail(const std::string& where, const std::string& what) const {
  throw InputError(fmt::format("{}: {}: {}", file, where, what));
}

int OpsetOf(const onnx::ModelProto& model, const std::string& file, int oldest) {
  const OnnxSource source{file};
  for (const auto& opset : model.opset_import()) {
    if (!IsStandardDomain(opset.domain())) continue;  // its operators are refused where they stand
    if (opset.version() < oldest || opset.version() > kNewestOpset) {
      source.Fail("opset", fmt::format("{}, and Steadfast knows the operators of {} to {}", opset.version(), oldest,
                                       kNewestOpset));
    }
    return static_cast<int>(opset.version());
  }
  source.Fail("opset", "the file does not say by which opset its operators are meant");
}

void CheckNodes(const onnx::ModelProto& model, const std::string& file) {
  const OnnxSource source{file};
  // Quantizers say themselves what they miss.
  const std::string_view of_two[] = {"Add",     "Sub",    "Mul",    "Div",   "Pow",   "MatMul",  "Gemm", "Conv",
                                     "Reshape", "Expand", "Gather", "Where", "Equal", "Greater", "Less"};
  for (const auto& proto : model.graph().node()) {
    const OnnxNode node(proto, source);
    node.output();
    const bool needs_two = std::count(std::begin(of_two), std::end(of_two), proto.op_type()) > 0;
    const int least = needs_two ? 2 : 0;
    if (proto.input_size() < least)
      node.Fail(fmt::format("has {} inputs, expected at least {}", proto.input_size(), least));
  }
}

bool HasQuantizers(const onnx::ModelProto& model) {
  const auto& nodes = model.graph().node();
  return std::any_of(nodes.begin(), nodes.end(), [](const onnx::NodeProto& node) {
    const std::string& type = node.op_type();
    return type.find("uant") != std::string::npos || type.find("QLinear") != std::string::npos ||
           type.find("QGemm") != std::string::npos || type.find("Integer") != std::string::npos;
  });
}

const std::string& OnnxNode::type() const {
  return proto_.op_type();
}

std::string OnnxNode::name() const {
  const std::string& named = proto_.name().empty() && proto_.output_size() > 0 ? proto_.output(0) : proto_.name();
  const std::string domain = IsStandardDomain(proto_.domain()) ? "" : proto_.domain() + ".";
  return fmt::format("node '{}' ({}{})", named, domain, proto_.op_type());
}

int OnnxNode::inputs() const {
  return proto_.input_size();
}
const std::string& OnnxNode::input(int i) const {
  if (!HasInput(i)) Fail(fmt::format("input {} is missing", i));
  return proto_.input(i);
}
bool OnnxNode::HasInput(int i) const {
  return i < proto_.input_size() && !proto_.input(i).empty();
}
const std::string& OnnxNode::output() const {
  if (proto_.output_size() < 1) Fail("has no output");
  return proto_.output(0);
}

void OnnxNode::Check(std::span<const OnnxAttribute> known, bool has_outputs) const {
  if (!IsStandardDomain(proto_.domain())) Fail(fmt::format("operators of the domain {} are not read", proto_.domain()));
  for (int i = 1; i < proto_.output_size() && !has_outputs; ++i) {
    if (!proto_.output(i).empty()) Fail(fmt::format("its output '{}' is not read", proto_.output(i)));
  }
  for (const auto& attribute : proto_.attribute()) {
    const auto found = std::find_if(known.begin(), known.end(), [&](const OnnxAttribute& rule) {
      return rule.name == attribute.name() && opset() >= rule.first_opset && opset() <= rule.last_opset;
    });
    if (found == known.end())
      Fail(fmt::format("has an attribute '{}', which opset {} does not know", attribute.name(), opset()));
    if (!attribute.ref_attr_name().empty())
      Fail(fmt::format("its attribute '{}' refers to a function's, which is not read", attribute.name()));
  }
}

const onnx::AttributeProto* OnnxNode::Find(std::string_view attribute, int type) const {
  for (const auto& candidate : proto_.attribute()) {
    if (candidate.name() != attribute) continue;
    // Files of old IR versions do not say the type.
    if (type != 0 && candidate.type() != type && candidate.type() != onnx::AttributeProto::UNDEFINED)
      Fail(fmt::format("attribute {} is of another type than expected", attribute));
    return &candidate;
  }
  return nullptr;
}

int64_t OnnxNode::Int(std::string_view attribute, int64_t otherwise) const {
  const auto* found = Find(attribute, onnx::AttributeProto::INT);
  return found == nullptr ? otherwise : found->i();
}
double OnnxNode::Float(std::string_view attribute, double otherwise) const {
  const auto* found = Find(attribute, onnx::AttributeProto::FLOAT);
  return found == nullptr ? otherwise : double{found->f()};
}
std::string OnnxNode::Text(std::string_view attribute, const std::string& otherwise) const {
  const auto* found = Find(attribute, onnx::AttributeProto::STRING);
  return found == nullptr ? otherwise : found->s();
}
std::vector<int64_t> OnnxNode::Ints(std::string_view attribute) const {
  const auto* found = Find(attribute, onnx::AttributeProto::INTS);
  if (found == nullptr) return {};
  return {found->ints().begin(), found->ints().end()};
}
std::vector<float> OnnxNode::Floats(std::string_view attribute) const {
  const auto* found = Find(attribute, onnx::AttributeProto::FLOATS);
  if (found == nullptr) return {};
  return {found->floats().begin(), found->floats().end()};
}
const onnx::TensorProto* OnnxNode::Tensor(std::string_view attribute) const {
  const auto* found = Find(attribute, onnx::AttributeProto::TENSOR);
  return found == nullptr ? nullptr : &found->t();
}

int OnnxNode::SmallInt(std::string_view attribute, int64_t value) const {
  if (value < 0 || value > 65536) Fail(fmt::format("attribute {} is {}", attribute, value));
  return static_cast<int>(value);
}

// Two values (height, width) of an attribute, or `otherwise` for both.
std::pair<int, int> OnnxNode::Pair(std::string_view attribute, int otherwise) const {
  if (!Has(attribute)) return {otherwise, otherwise};
  const auto values = Ints(attribute);
  if (values.size() != 2) Fail(fmt::format("attribute {} has {} values, expected 2", attribute, values.size()));
  return {SmallInt(attribute, values[0]), SmallInt(attribute, values[1])};
}

Window OnnxNode::WindowOf(int kernel_h, int kernel_w, const ValueShape& input) const {
  Window window;
  const auto kernel = Pair("kernel_shape", 0);
  window.kernel_h = kernel.first > 0 ? kernel.first : kernel_h;
  window.kernel_w = kernel.second > 0 ? kernel.second : kernel_w;
  std::tie(window.stride_h, window.stride_w) = Pair("strides", 1);
  std::tie(window.dilation_h, window.dilation_w) = Pair("dilations", 1);
  if (Has("pads")) {
    const auto pads = Ints("pads");
    if (pads.size() != 4) Fail(fmt::format("attribute pads has {} values, expected 4", pads.size()));
    window.pad_top = SmallInt("pads", pads[0]);
    window.pad_left = SmallInt("pads", pads[1]);
    window.pad_bottom = SmallInt("pads", pads[2]);
    window.pad_right = SmallInt("pads", pads[3]);
  }
  const std::string auto_pad = Text("auto_pad", "NOTSET");
  if (auto_pad == "NOTSET") {
    RoundUp(input, window);
    return window;
  }
  if (Int("ceil_mode", 0) != 0) Fail(fmt::format("ceil_mode and auto_pad {} together are not taken", auto_pad));
  if (window.has_padding()) Fail(fmt::format("auto_pad {} and pads contradict each other", auto_pad));
  if (auto_pad == "VALID") return window;
  if (auto_pad != "SAME_UPPER" && auto_pad != "SAME_LOWER")
    Fail(fmt::format("auto_pad '{}', expected NOTSET, VALID, SAME_UPPER or SAME_LOWER", auto_pad));
  const bool upper = auto_pad == "SAME_UPPER";  // what does not divide by two goes to the end
  const auto pad = [&](int64_t size, int elements, int stride, int dilation, int& before, int& after) {
    if (elements < 1 || stride < 1 || dilation < 1) return;  // refused when the output's shape is computed
    const int64_t outputs = (size + stride - 1) / stride;
    const int64_t total = std::max<int64_t>(0, (outputs - 1) * stride + int64_t{dilation} * (elements - 1) + 1 - size);
    (upper ? before : after) = SmallInt("auto_pad", total / 2);
    (upper ? after : before) = SmallInt("auto_pad", total - total / 2);
  };
  pad(input.height, window.kernel_h, window.stride_h, window.dilation_h, window.pad_top, window.pad_bottom);
  pad(input.width, window.kernel_w, window.stride_w, window.dilation_w, window.pad_left, window.pad_right);
  return window;
}

void OnnxNode::RoundUp(const ValueShape& input, Window& window) const {
  if (Int("ceil_mode", 0) == 0) return;
  const auto extend = [&](int64_t size, int kernel, int stride, int dilation, int before, int& after) {
    const int64_t extent = int64_t{dilation} * (kernel - 1) + 1, room = size + before + after - extent;
    if (kernel < 1 || stride < 1 || dilation < 1 || room < 0 || room % stride == 0) return;
    const int64_t last = (room / stride + 1) * stride;  // where the window that rounding up adds begins
    if (last >= size + before)
      Fail("rounds up (ceil_mode) to a window of nothing but padding, which runtimes understand in two ways");
    if (type() != "MaxPool")
      Fail("rounds up (ceil_mode) to a window that reaches out of its input, which is only taken of MaxPool");
    after = SmallInt("pads", last + extent - size - before);
  };
  extend(input.height, window.kernel_h, window.stride_h, window.dilation_h, window.pad_top, window.pad_bottom);
  extend(input.width, window.kernel_w, window.stride_w, window.dilation_w, window.pad_left, window.pad_right);
}

std::vector<float> FloatsOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  if (tensor.data_type() != onnx::TensorProto::FLOAT) source.Fail(WhereOf(tensor), "expected float32 values");
  return RawOf<float>(tensor, source);
}

std::vector<uint32_t> HalvesOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  const auto halves = RawOf<uint16_t>(tensor, source);
  return {halves.begin(), halves.end()};
}

std::vector<int64_t> Int64sOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  if (tensor.data_type() != onnx::TensorProto::INT64) source.Fail(WhereOf(tensor), "expected int64 values");
  return RawOf<int64_t>(tensor, source);
}

std::vector<int> IntegersOf(const onnx::TensorProto& tensor, const OnnxSource& source) {
  const auto widened = [](const auto& values) { return std::vector<int>(values.begin(), values.end()); };
  switch (static_cast<int>(tensor.data_type())) {
    case onnx::TensorProto::INT8:
      return widened(RawOf<int8_t>(tensor, source));
    case onnx::TensorProto::UINT8:
      return widened(RawOf<uint8_t>(tensor, source));
    case onnx::TensorProto::INT32:
      return widened(RawOf<int32_t>(tensor, source));
    case kInt4:
    case kUint4:
      return NibblesOf(tensor, source);
    default:
      source.Fail(WhereOf(tensor),
                  fmt::format("data type {} is not an integer type Steadfast reads", tensor.data_type()));
  }
}

}  // namespace steadfast::model
