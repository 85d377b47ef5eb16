#include "steadfast/model/parameter.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace steadfast::model {
namespace {

// IEEE binary16 to binary32, exactly; payloads of NaN are kept.
float HalfToFloat(uint32_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

int LargestStoredLevel(const CodeFormat& format) {
  const int lowest = format.is_signed ? -(1 << (format.bits - 1)) : 0;
  return std::max(std::abs(format.level(lowest)), std::abs(format.level(format.highest_code())));
}

CodeFormat FormatWithoutZero(int bits) {
  return {.bits = bits, .is_signed = false, .narrow = false, .levels = {2, 1 - (1 << bits)}};
}

std::string_view NameOf(Role role) {
  switch (role) {
    case Role::kWeight:
      return "weight";
    case Role::kBias:
      return "bias";
    case Role::kScale:
      return "scale";
    case Role::kMultiplier:
      return "multiplier";
    case Role::kMean:
      return "mean";
    case Role::kVariance:
      return "variance";
    case Role::kActivationScale:
      return "activation scale";
  }
  return "?";
}

int StorageFormat::bits() const {
  switch (kind) {
    case Kind::kCodes:
      return codes.bits;
    case Kind::kInt32:
    case Kind::kFloat32:
      return 32;
    case Kind::kFloat16:
    case Kind::kBfloat16:
      return 16;
  }
  return 0;
}

std::string NameOf(const StorageFormat& format) {
  switch (format.kind) {
    case StorageFormat::Kind::kCodes:
      return fmt::format("{}int{}", format.codes.is_signed ? "" : "u", format.codes.bits);
    case StorageFormat::Kind::kInt32:
      return "int32";
    case StorageFormat::Kind::kFloat32:
      return "float32";
    case StorageFormat::Kind::kFloat16:
      return "float16";
    case StorageFormat::Kind::kBfloat16:
      return "bfloat16";
  }
  return "?";
}

float Parameter::RealOfBits(uint32_t pattern) const {
  switch (format.kind) {
    case StorageFormat::Kind::kFloat16:
      return HalfToFloat(pattern);
    case StorageFormat::Kind::kBfloat16:
      return std::bit_cast<float>(pattern << 16);
    default:
      return std::bit_cast<float>(pattern);
  }
}

Parameter FloatParameter(std::string name, Role role, std::vector<int64_t> shape, std::span<const float> values) {
  Parameter parameter{.name = std::move(name), .role = role, .shape = std::move(shape)};
  parameter.format.kind = StorageFormat::Kind::kFloat32;
  for (float value : values) parameter.bits.push_back(std::bit_cast<uint32_t>(value));
  return parameter;
}

}  // namespace steadfast::model
