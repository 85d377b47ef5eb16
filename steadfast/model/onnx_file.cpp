#include "steadfast/model/onnx_file.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"  // ParseInt
#include "steadfast/model/onnx_forms.h"
#include "steadfast/model/onnx_proto.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/linear.h"
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
    CheckNodes(proto, name);
    OnnxForms forms = RewriteForms(proto, name);
    return OnnxReader(proto, name, std::move(forms)).Read();
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: needs more memory than there is", name));
  }
}

QuantizedModel ReadModel(const std::filesystem::path& path) {
  return ReadModelFile(path).model;
}

void SetStoredBits(QuantizedModel& model, const std::map<std::string, int>& stored_bits, const std::string& name) {
  for (const auto& one : stored_bits) {
    const std::string& tensor = one.first;
    const int bits = one.second;
    const std::string option = fmt::format("--stored-bits {}={}", tensor, bits);
    const auto found = std::find_if(model.parameters.begin(), model.parameters.end(), [&](const Parameter& parameter) {
      return parameter.name == tensor && parameter.role == Role::kWeight && !parameter.is_fixed;
    });
    if (found == model.parameters.end()) {
      std::vector<std::string> known;
      for (const int weight : WeightsOf(model)) known.push_back(model.parameter(weight).name);
      throw UsageError(
          fmt::format("{}: {} has no weights of this name (it has {})", option, name, fmt::join(known, ", ")));
    }
    CodeFormat& format = found->format.codes;
    if (bits < 1 || bits > format.bits)
      throw UsageError(fmt::format("{}: expected 1 to {} bits, as many as {} has for them", option, format.bits, name));
    CodeFormat narrower = format;
    narrower.bits = bits;
    narrower.narrow = format.narrow && bits == format.bits;
    for (int64_t i = 0; i < found->elements(); ++i) {
      const int code = found->code(i);
      if (code < narrower.lowest_code() || code > narrower.highest_code())
        throw UsageError(fmt::format("{}: {} holds code {} at index {}, and {} bits hold {} to {}", option, name, code,
                                     i, bits, narrower.lowest_code(), narrower.highest_code()));
    }
    for (uint32_t& pattern : found->bits) pattern = narrower.pattern(format.code(pattern));
    format = narrower;
  }
}

namespace {

// Whether an integer bias counts in steps of the sum that it is added to, as quantizers of files make them.
bool HasScaleOfItsSum(const QuantizedModel& model, const Node& node, const AffineStep& step) {
  if (step.kind != AffineStep::Kind::kAdd) return false;
  const Parameter& bias = model.parameter(step.parameter);
  if (bias.format.kind != StorageFormat::Kind::kInt32 || bias.scale < 0) return false;
  const Parameter& own = model.parameter(bias.scale);
  const Parameter& weight = model.parameter(node.operation.weighted()->weight);
  const Parameter& scales = model.parameter(weight.scale);
  constexpr double kRounding = 1e-5;
  for (int64_t c = 0; c < weight.outputs(); ++c) {
    const double of_sum =
        double{model.value(node.input()).coding->real_scale()} * scales.real(scales.elements() == 1 ? 0 : c);
    if (!(std::abs(own.real(own.elements() == 1 ? 0 : c) / of_sum - 1) <= kRounding)) return false;
  }
  return true;
}

}  // namespace

void SetProfile(QuantizedModel& model, Profile profile) {
  model.profile = profile;
  if (IsOfTflite(profile)) return;
  for (Node& node : model.nodes) {
    if (node.operation.weighted() == nullptr) continue;
    Weighted weighted = *node.operation.weighted();
    for (AffineStep& step : weighted.steps)
      step.is_fused = profile == Profile::kOrt && weighted.steps.size() == 1 && HasScaleOfItsSum(model, node, step);
    if (weighted == *node.operation.weighted()) continue;
    if (const auto* convolution = node.operation.As<Convolution>()) {
      Convolution made = *convolution;
      made.weighted = std::move(weighted);
      node.operation = made;
    } else if (node.operation.Is<Linear>()) {
      node.operation = Linear{std::move(weighted)};
    }
  }
}

ModelFile ReadModelFile(const std::filesystem::path& path, const Reading& reading) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  const bool is_tflite = IsTflite(bytes);
  const auto& profile = reading.profile;
  if (profile && IsOfTflite(*profile) != is_tflite)
    throw UsageError(fmt::format("--profile {}: {} is {}", NameOf(*profile), path.string(),
                                 is_tflite ? "a TFLite file, which runs under xnnpack, litert-builtin or tflm"
                                           : "an ONNX file, which runs under onnx or ort"));
  ModelFile file{path, Sha256(bytes),
                 is_tflite ? FromTflite(bytes, path.string()).model : FromOnnx(bytes, path.string())};
  const Profile by_form = file.model.profile;
  SetProfile(file.model, profile.value_or(by_form));
  if (file.model.quantizes_input && file.model.profile != Profile::kXnnpack)
    throw UsageError(
        fmt::format("--profile {}: {} takes real numbers, and how this runtime quantizes them is not known "
                    "code for code; xnnpack is",
                    NameOf(file.model.profile), path.string()));
  const auto& input = file.model.value(0).coding;
  if (file.model.profile == Profile::kTflm && input && !input->is_signed)
    throw UsageError(
        fmt::format("--profile tflm: {} is of uint8, for which TFLite Micro has no kernels", path.string()));
  SetStoredBits(file.model, reading.stored_bits, path.string());
  if (!reading.stored_bits.empty()) Validate(file.model);
  if (by_form != Profile::kOnnx || file.model.profile != Profile::kOnnx || !reading.stored_bits.empty())
    file.sha256 += fmt::format(":{}", NameOf(file.model.profile));
  for (const auto& [tensor, bits] : reading.stored_bits) {
    std::string escaped;
    for (const char letter : tensor)
      escaped += letter == ';' || letter == '%' ? fmt::format("%{:02x}", letter) : std::string(1, letter);
    file.sha256 += fmt::format(";{}={}", escaped, bits);
  }
  return file;
}

Reading ReadingOfHash(std::string_view sha256) {
  Reading reading;
  const size_t colon = sha256.find(':');
  if (colon == std::string_view::npos) return reading;
  std::string_view rest = sha256.substr(colon + 1);
  const size_t end = rest.find(';');
  reading.profile = ParseProfile(rest.substr(0, end));
  while (rest.find(';') != std::string_view::npos) {
    rest = rest.substr(rest.find(';') + 1);
    const std::string_view one = rest.substr(0, rest.find(';'));
    const size_t equals = one.rfind('=');
    if (equals == std::string_view::npos) throw InputError(fmt::format("the hash {} says no width", sha256));
    std::string tensor;
    for (size_t i = 0; i < equals; ++i) {
      const bool is_escaped = one[i] == '%' && i + 2 < equals;
      tensor += is_escaped ? (one.substr(i, 3) == "%3b" ? ';' : '%') : one[i];
      if (is_escaped) i += 2;
    }
    reading.stored_bits[tensor] = static_cast<int>(ParseInt(std::string(one.substr(equals + 1)), "a width", 1, 8));
  }
  return reading;
}

std::string NameWithHash(const ModelFile& file) {
  return file.path.stem().string() + "@" + file.sha256.substr(0, 12);
}

}  // namespace steadfast::model
