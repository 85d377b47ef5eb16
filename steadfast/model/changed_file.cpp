#include "steadfast/model/changed_file.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/onnx_proto.h"  // kInt4, kUint4
#include "steadfast/model/tflite_file.h"

namespace steadfast::model {
namespace {

// What a file keeps of an element: its bits, or a code as a number of the container's width.
uint32_t StoredBits(const Parameter& parameter, uint32_t pattern) {
  if (parameter.format.kind != StorageFormat::Kind::kCodes) return pattern;
  return static_cast<uint32_t>(parameter.format.codes.code(pattern));
}

// The little-endian bytes of an element.
void Put(uint8_t* to, uint32_t value, int size) {
  for (int byte = 0; byte < size; ++byte) to[byte] = static_cast<uint8_t>(value >> (8 * byte));
}

int ContainerBytes(const Parameter& parameter) {
  return parameter.format.kind == StorageFormat::Kind::kCodes ? 1 : parameter.format.bits() / 8;
}

const Parameter& Checked(const QuantizedModel& model, const std::string& name, const Change& change) {
  const Parameter& parameter = model.parameter(change.parameter);
  if (parameter.bits[static_cast<size_t>(change.index)] != change.old_bits)
    throw InputError(fmt::format("{}: element {} of {} holds {:#x}, expected {:#x}", name, change.index, parameter.name,
                                 parameter.bits[static_cast<size_t>(change.index)], change.old_bits));
  return parameter;
}

// ---- ONNX ----

// The tensors of a graph by name: initializers, and the values of Constant nodes.
std::unordered_map<std::string, onnx::TensorProto*> TensorsOf(onnx::GraphProto& graph) {
  std::unordered_map<std::string, onnx::TensorProto*> tensors;
  for (onnx::TensorProto& tensor : *graph.mutable_initializer()) tensors[tensor.name()] = &tensor;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    if (node.op_type() != "Constant" || node.output_size() != 1) continue;
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.name() == "value" && attribute.has_t()) tensors[node.output(0)] = attribute.mutable_t();
    }
  }
  return tensors;
}

void SetElement(onnx::TensorProto& tensor, int64_t index, uint32_t value, const std::string& name) {
  const int type = static_cast<int>(tensor.data_type());
  const bool is_nibble = type == kInt4 || type == kUint4;
  const auto place = static_cast<size_t>(is_nibble ? index / 2 : index);
  const int shift = is_nibble ? static_cast<int>(index % 2) * 4 : 0;
  const auto with_nibble = [&](uint32_t old) { return (old & ~(15u << shift)) | (value & 15u) << shift; };
  if (tensor.has_raw_data()) {
    std::string& raw = *tensor.mutable_raw_data();
    int size = 4;
    if (is_nibble || type == onnx::TensorProto::INT8 || type == onnx::TensorProto::UINT8) size = 1;
    if (type == onnx::TensorProto::FLOAT16 || type == onnx::TensorProto::BFLOAT16) size = 2;
    if (is_nibble) value = with_nibble(static_cast<uint8_t>(raw[place]));
    Put(reinterpret_cast<uint8_t*>(raw.data()) + place * static_cast<size_t>(size), value, size);
    return;
  }
  if (type == onnx::TensorProto::FLOAT) {
    float real = 0;
    std::memcpy(&real, &value, sizeof(real));
    return tensor.set_float_data(static_cast<int>(place), real);
  }
  if (tensor.int32_data_size() <= static_cast<int>(place))
    throw InputError(
        fmt::format("{}: {} stores its elements in a way that is read, and not written", name, tensor.name()));
  if (is_nibble) value = with_nibble(static_cast<uint32_t>(tensor.int32_data(static_cast<int>(place))));
  tensor.set_int32_data(static_cast<int>(place), static_cast<int32_t>(value));
}

std::vector<uint8_t> OnnxWithChange(std::span<const uint8_t> bytes, const std::string& name, const ModelChange& change,
                                    const std::map<std::string, int>& stored_bits) {
  QuantizedModel model = FromOnnx(bytes, name);
  SetStoredBits(model, stored_bits, name);
  onnx::ModelProto proto;
  proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  std::string written = proto.SerializeAsString();
  if (written.size() != bytes.size() || std::memcmp(written.data(), bytes.data(), bytes.size()) != 0)
    throw InputError(
        fmt::format("{}: is encoded in a way that writing does not give back byte for byte; load and save it once with "
                    "another tool (python3 -c \"import onnx; onnx.save(onnx.load('…'), '…')\")",
                    name));
  const auto tensors = TensorsOf(*proto.mutable_graph());
  for (const Change& one : change.changes) {
    const Parameter& parameter = Checked(model, name, one);
    const auto is_among = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), parameter.name) != names.end();
    };
    if (is_among(model.constant_scales))
      throw InputError(
          fmt::format("{}: by {} the graph quantizes constants too, which a runtime would quantize anew: the "
                      "file would not give what is predicted",
                      name, parameter.name));
    if (is_among(model.clipped_weights) &&
        parameter.format.codes.code(one.new_bits) < parameter.format.codes.lowest_code())
      throw InputError(
          fmt::format("{}: element {} of {} would be code {}, which the graph clips: the file would not give "
                      "what is predicted",
                      name, one.index, parameter.name, parameter.format.codes.code(one.new_bits)));
    const auto found = tensors.find(parameter.name);
    if (found == tensors.end()) throw InputError(fmt::format("{}: {} is no tensor of the file", name, parameter.name));
    SetElement(*found->second, one.index, StoredBits(parameter, one.new_bits), name);
  }
  written = proto.SerializeAsString();
  return {written.begin(), written.end()};
}

}  // namespace

std::vector<uint8_t> WithChange(std::span<const uint8_t> bytes, const std::string& name, const ModelChange& change,
                                const std::map<std::string, int>& stored_bits) {
  if (!IsTflite(bytes)) return OnnxWithChange(bytes, name, change, stored_bits);
  TfliteModel file = FromTflite(bytes, name);
  SetStoredBits(file.model, stored_bits, name);
  std::vector<uint8_t> changed(bytes.begin(), bytes.end());
  for (const Change& one : change.changes) {
    const Parameter& parameter = Checked(file.model, name, one);
    const int size = ContainerBytes(parameter);
    const uint64_t place = file.offsets[static_cast<size_t>(one.parameter)] +
                           static_cast<uint64_t>(one.index) * static_cast<uint64_t>(size);
    Put(changed.data() + place, StoredBits(parameter, one.new_bits), size);
  }
  return changed;
}

}  // namespace steadfast::model
