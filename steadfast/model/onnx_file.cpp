#include "steadfast/model/onnx_file.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <limits>
#include <new>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/model/onnx_proto.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"

namespace steadfast::model {

std::string ToOnnx(const QuantizedModel& model) {
  return OnnxWriter(model).Write();
}

void WriteModel(const QuantizedModel& model, const std::filesystem::path& path) {
  WriteFileWhole(path, ToOnnx(model));
}

QuantizedModel FromOnnx(std::span<const uint8_t> bytes, const std::string& name) {
  onnx::ModelProto proto;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !proto.has_graph()) {
    throw InputError(fmt::format("{}: is not an ONNX model ({} bytes that do not parse as one)", name, bytes.size()));
  }
  if (proto.graph().node_size() > 0 && !HasQuantizers(proto)) {
    throw InputError(
        fmt::format("{}: is a network of real numbers, and a quantized one is expected: quantize it first (steadfast "
                    "quantize), or train it on with quantizers (steadfast train)",
                    name));
  }
  try {
    return OnnxReader(proto, name).Read();
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: needs more memory than there is", name));
  }
}

QuantizedModel ReadModel(const std::filesystem::path& path) {
  return ReadModelFile(path).model;
}

ModelFile ReadModelFile(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  return {path, Sha256(bytes), FromOnnx(bytes, path.string())};
}

std::string NameWithHash(const ModelFile& file) {
  return file.path.stem().string() + "@" + file.sha256.substr(0, 12);
}

}  // namespace steadfast::model
