// The one door between QuantizedModel and ONNX files (docs/formats.md describes the form).
//
// Written: opset 17, QuantizeLinear/DequantizeLinear, codes narrower than 8 bits in int8/uint8 tensors, a Clip before
// QuantizeLinear for narrow activations, true widths in the metadata. Read: the same, and beside it BatchNormalization,
// biases inside Conv/Gemm (float, or int32 through DequantizeLinear), native INT4/UINT4 weights, and other forms than
// QDQ (onnx_forms.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
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

// What a user says of a file beside what it says itself.
struct Reading {
  std::optional<Profile> profile = {};  // whose arithmetic; nothing: that of the file's form
  // Of weights by name, which are stored in fewer bits than the file has for them.
  std::map<std::string, int> stored_bits = {};
  bool operator==(const Reading&) const = default;
};

// A model as it lies on disk, with the hash of the file.
struct ModelFile {
  std::filesystem::path path;
  // Of the file's bytes; where the arithmetic is not ONNX's text with that behind it, and with what a user says of
  // widths: "3c002613…:xnnpack", "…:onnx;conv1.weight=4". What it answers, and where faults lie, depends on all of
  // them, so that stores, reports and trials' ids keep them apart.
  std::string sha256;
  QuantizedModel model;
};
// Throws UsageError where the reading does not fit the file: a profile of other formats, a name that no weights have, a
// width in which their codes do not fit.
ModelFile ReadModelFile(const std::filesystem::path& path, const Reading& reading = {});
// The same network under another arithmetic. Under ONNX Runtime's, integer biases whose scale is that of their sum
// become parts of it, as its kernels have them.
void SetProfile(QuantizedModel& model, Profile profile);
// The reading in a ModelFile's hash.
Reading ReadingOfHash(std::string_view sha256);
// Weights in fewer bits than their file has for them. Throws as ReadModelFile does.
void SetStoredBits(QuantizedModel& model, const std::map<std::string, int>& stored_bits, const std::string& name);
// "lenet5-as-seed0@0123456789ab": the file's stem and the start of its hash.
std::string NameWithHash(const ModelFile& file);

}  // namespace steadfast::model
