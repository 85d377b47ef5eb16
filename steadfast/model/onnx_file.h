// The one door between QuantizedModel and ONNX files (docs/formats.md describes the form).
//
// Written: opset 17, QuantizeLinear/DequantizeLinear, codes narrower than 8 bits in int8/uint8 tensors, a Clip before
// QuantizeLinear for narrow activations, true widths in the metadata. Read: the same, and beside it BatchNormalization,
// biases inside Conv/Gemm (float, or int32 through DequantizeLinear), and native INT4/UINT4 weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

// The bytes of an ONNX file. The model must be valid (see Validate).
std::string ToOnnx(const QuantizedModel& model);

// Parses and validates. `name` stands in errors. Throws InputError, naming node or tensor, for anything that is not a
// quantized network of the operators Steadfast knows; never allocates more than the bytes justify.
QuantizedModel FromOnnx(std::span<const uint8_t> bytes, const std::string& name);

void WriteModel(const QuantizedModel& model, const std::filesystem::path& path);
// Any file of a quantized network that is known: ONNX, or TFLite (tflite_file.h).
QuantizedModel ReadModel(const std::filesystem::path& path);

// A model as it lies on disk, with the hash of the file.
struct ModelFile {
  std::filesystem::path path;
  // Of the file's bytes; of TFLite files with the arithmetic behind it: "3c002613…:xnnpack". What it answers depends on
  // both, so that stores, reports and trials' ids keep them apart.
  std::string sha256;
  QuantizedModel model;
};
// Under the arithmetic that the file's format has by default, or another one. Throws UsageError where that is of other
// formats.
ModelFile ReadModelFile(const std::filesystem::path& path, std::optional<Profile> profile = std::nullopt);
// The arithmetic in a ModelFile's hash.
std::optional<Profile> ProfileOfHash(std::string_view sha256);
// "lenet5-as-seed0@0123456789ab": the file's stem and the start of its hash.
std::string NameWithHash(const ModelFile& file);

}  // namespace steadfast::model
