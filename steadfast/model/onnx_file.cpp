#include "steadfast/model/onnx_file.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <limits>
#include <new>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/model/onnx_forms.h"
#include "steadfast/model/onnx_proto.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/tflite_file.h"

namespace steadfast::model {

std::string ToOnnx(const QuantizedModel& model) {
  if (model.profile != Profile::kOnnx)
    throw InputError(fmt::format("{}: runs under {}'s arithmetic, which an ONNX file does not say", model.name,
                                 NameOf(model.profile)));
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
    OnnxForms forms = RewriteForms(proto, name);
    return OnnxReader(proto, name, std::move(forms)).Read();
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: needs more memory than there is", name));
  }
}

QuantizedModel ReadModel(const std::filesystem::path& path) {
  return ReadModelFile(path).model;
}

ModelFile ReadModelFile(const std::filesystem::path& path, std::optional<Profile> profile) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  const bool is_tflite = IsTflite(bytes);
  if (profile && IsOfTflite(*profile) != is_tflite)
    throw UsageError(fmt::format("--profile {}: {} is {}", NameOf(*profile), path.string(),
                                 is_tflite ? "a TFLite file, which runs under xnnpack, litert-builtin or tflm"
                                           : "an ONNX file, which runs under onnx or ort"));
  if (!is_tflite) {
    ModelFile file{path, Sha256(bytes), FromOnnx(bytes, path.string())};
    file.model.profile = profile.value_or(file.model.profile);
    if (file.model.profile != Profile::kOnnx) file.sha256 += fmt::format(":{}", NameOf(file.model.profile));
    return file;
  }
  ModelFile file{path, Sha256(bytes), FromTflite(bytes, path.string()).model};
  file.model.profile = profile.value_or(file.model.profile);
  if (file.model.quantizes_input && file.model.profile != Profile::kXnnpack)
    throw UsageError(
        fmt::format("--profile {}: {} takes real numbers, and how this runtime quantizes them is not known "
                    "code for code; xnnpack is",
                    NameOf(file.model.profile), path.string()));
  file.sha256 += fmt::format(":{}", NameOf(file.model.profile));
  return file;
}

std::optional<Profile> ProfileOfHash(std::string_view sha256) {
  const size_t colon = sha256.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return ParseProfile(sha256.substr(colon + 1));
}

std::string NameWithHash(const ModelFile& file) {
  return file.path.stem().string() + "@" + file.sha256.substr(0, 12);
}

}  // namespace steadfast::model
