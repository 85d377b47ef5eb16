#include "steadfast/campaign/input_scaling.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstring>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"  // FormatShortest
#include "steadfast/model/requantization.h"

namespace steadfast::campaign {
namespace {

std::string ListText(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (double value : values) texts.push_back(FormatShortest(value));
  return values.size() == 1 ? texts[0] : fmt::format("[{}]", fmt::join(texts, ","));
}

double ValueOf(const std::vector<double>& values, int64_t channel, double otherwise) {
  if (values.empty()) return otherwise;
  return values[values.size() == 1 ? 0 : static_cast<size_t>(channel)];
}

// XNNPACK's QUANTIZE multiplies by the reciprocal; a user's own codes, and ONNX's, come from a quotient.
uint8_t CodeOfReal(float real, const model::QuantizedModel& model, const model::Quantization& quantization) {
  const float steps = model.quantizes_input ? real * (1.0f / quantization.scale) : real / quantization.scale;
  return model::CodeOfSteps(steps, quantization);
}

}  // namespace

std::string NameOf(const InputScaling& input, const model::QuantizedModel& model, data::Elements elements) {
  if (elements != data::Elements::kBytes) return elements == data::Elements::kCodes ? "codes" : "reals";
  if (!model.real_input) return "";
  std::string text = input.scale == 0 ? "pixel/255" : fmt::format("pixel*{}", FormatShortest(input.scale));
  if (!input.means.empty()) text = fmt::format("({}-{})", text, ListText(input.means));
  if (!input.deviations.empty()) text = fmt::format("{}/{}", text, ListText(input.deviations));
  return text;
}

void CheckFits(const InputScaling& input, const model::QuantizedModel& model, const std::string& name) {
  if (!model.real_input) {
    if (input.is_default()) return;
    throw UsageError(fmt::format(
        "{} takes raw bytes, and its file says what they mean: --input-scale, --mean and --std do not apply", name));
  }
  if (model.needs_input_scaling && input.is_default()) {
    const model::ActivationCoding& coding = *model.value(0).coding;
    throw UsageError(fmt::format(
        "{}: its input has scale {} and zero point {}, and nothing says what a byte of an image is to it: say it with "
        "--input-scale (0.00392157 for pixel/255, 1 for the pixel itself), and --mean and --std where it wants them",
        name, FormatShortest(double{coding.scale}), coding.zero_point + coding.stored_offset()));
  }
  const int64_t channels = model.value(0).shape.channels;
  const auto check = [&](const std::vector<double>& values, const char* option) {
    if (values.size() > 1 && static_cast<int64_t>(values.size()) != channels) {
      throw UsageError(fmt::format("{}: {} values, and {} takes images of {} channels: give one, or one a channel",
                                   option, values.size(), name, channels));
    }
    for (double value : values) {
      if (!std::isfinite(value)) throw UsageError(fmt::format("{}: {} is not a number", option, value));
    }
  };
  check(input.means, "--mean");
  check(input.deviations, "--std");
  for (double value : input.deviations) {
    if (!(value > 0)) throw UsageError(fmt::format("--std: {}, expected a positive number", value));
  }
  if (input.scale != 0 && !(input.scale > 0 && std::isfinite(input.scale)))
    throw UsageError(fmt::format("--input-scale: {}, expected a positive number", input.scale));
}

void CheckFits(const InputScaling& input, const model::QuantizedModel& model, const std::string& name,
               data::Elements elements, const std::string& dataset) {
  if (elements == data::Elements::kBytes) return CheckFits(input, model, name);
  const bool are_codes = elements == data::Elements::kCodes;
  if (!input.is_default())
    throw UsageError(fmt::format("--input-scale, --mean and --std say what bytes are, and {} holds {}", dataset,
                                 are_codes ? "codes (int8)" : "real numbers"));
  const model::ActivationCoding& coding = *model.value(0).coding;
  if (are_codes && (coding.bits != 8 || !coding.is_signed))
    throw InputError(fmt::format(
        "{}: {} holds codes of int8, and the network's input has {} of {} bits; give it real numbers (float32), scale "
        "* (code - zero point)",
        name, dataset, coding.is_signed ? "signed codes" : "unsigned codes", coding.bits));
}

std::vector<uint8_t> CodesOfImages(const model::QuantizedModel& model, const data::ImageSet& images,
                                   const InputScaling& input) {
  if (images.elements == data::Elements::kCodes) return images.images;
  if (images.elements == data::Elements::kBytes) return CodesOfImages(model, std::span(images.images), input);
  const model::Quantization quantization = model::QuantizationOf(*model.value(0).coding, {});
  std::vector<uint8_t> codes(images.images.size() / 4);
  for (size_t i = 0; i < codes.size(); ++i) {
    float real = 0;
    std::memcpy(&real, &images.images[4 * i], 4);
    codes[i] = CodeOfReal(real, model, quantization);
  }
  return codes;
}

std::vector<uint8_t> CodesOfImages(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                   const InputScaling& input) {
  std::vector<uint8_t> codes(images.begin(), images.end());
  if (!model.real_input) return codes;
  const model::Value& value = model.value(0);
  const model::Quantization quantization = model::QuantizationOf(*value.coding, {});
  const int64_t channels = value.shape.channels, pixels = value.shape.height * value.shape.width;
  std::vector<std::array<uint8_t, 256>> tables(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) {
    const auto mean = static_cast<float>(ValueOf(input.means, c, 0.0));
    const auto deviation = static_cast<float>(ValueOf(input.deviations, c, 1.0));
    for (int byte = 0; byte < 256; ++byte) {
      const auto pixel = static_cast<float>(byte);
      const float scaled = input.scale == 0 ? pixel / 255.0f : pixel * static_cast<float>(input.scale);
      const float centred = scaled - mean;
      tables[static_cast<size_t>(c)][static_cast<size_t>(byte)] = CodeOfReal(centred / deviation, model, quantization);
    }
  }
  for (size_t i = 0; i < codes.size(); ++i) {
    const auto channel = static_cast<size_t>(static_cast<int64_t>(i) / pixels % channels);
    codes[i] = tables[channel][codes[i]];
  }
  return codes;
}

}  // namespace steadfast::campaign
