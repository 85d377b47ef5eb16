#include "steadfast/memory/encoding.h"

#include <fmt/format.h>

#include <array>
#include <cassert>
#include <cstdlib>
#include <utility>

#include "steadfast/base/error.h"

namespace steadfast::memory {
namespace {

constexpr std::array<std::pair<Encoding, std::string_view>, 4> kNames = {{{Encoding::kTwosComplement, "twos"},
                                                                          {Encoding::kSignMagnitude, "sign"},
                                                                          {Encoding::kOffsetBinary, "offset"},
                                                                          {Encoding::kGray, "gray"}}};

unsigned Mask(int bits) {
  return (1u << bits) - 1;
}

unsigned FromGray(unsigned gray) {
  for (unsigned shift = 1; shift < 8; shift *= 2) gray ^= gray >> shift;
  return gray;
}

int SignExtend(unsigned pattern, int bits) {
  const unsigned sign = 1u << (bits - 1);
  return static_cast<int>(pattern ^ sign) - static_cast<int>(sign);
}

}  // namespace

std::string_view NameOf(Encoding encoding) {
  for (const auto& [value, name] : kNames) {
    if (value == encoding) return name;
  }
  return "?";
}

Encoding ParseEncoding(std::string_view text) {
  for (const auto& [value, name] : kNames) {
    if (name == text) return value;
  }
  throw UsageError(fmt::format("encoding: '{}' is not one of twos, sign, offset, gray", text));
}

uint32_t Encode(const model::CodeFormat& format, Encoding encoding, int code) {
  const unsigned mask = Mask(format.bits);
  const unsigned u = static_cast<unsigned>(code) & mask;
  if (!format.is_signed) return encoding == Encoding::kGray ? u ^ (u >> 1) : u;
  switch (encoding) {
    case Encoding::kTwosComplement:
      return u;
    case Encoding::kSignMagnitude: {
      assert(std::abs(code) < 1 << (format.bits - 1));
      const unsigned sign = code < 0 ? 1u << (format.bits - 1) : 0;
      return sign | static_cast<unsigned>(std::abs(code));
    }
    case Encoding::kOffsetBinary:
      return static_cast<unsigned>(code + (1 << (format.bits - 1)));
    case Encoding::kGray:
      return u ^ (u >> 1);
  }
  return 0;
}

int Decode(const model::CodeFormat& format, Encoding encoding, uint32_t pattern) {
  if (!format.is_signed) return static_cast<int>(encoding == Encoding::kGray ? FromGray(pattern) : pattern);
  switch (encoding) {
    case Encoding::kTwosComplement:
      return SignExtend(pattern, format.bits);
    case Encoding::kSignMagnitude: {
      const int magnitude = static_cast<int>(pattern & Mask(format.bits - 1));
      return (pattern >> (format.bits - 1)) != 0 ? -magnitude : magnitude;
    }
    case Encoding::kOffsetBinary:
      return static_cast<int>(pattern) - (1 << (format.bits - 1));
    case Encoding::kGray:
      return SignExtend(FromGray(pattern), format.bits);
  }
  return 0;
}

void CheckEncodable(const model::Parameter& tensor, Encoding encoding) {
  if (encoding != Encoding::kSignMagnitude) return;
  const model::CodeFormat& format = tensor.format.codes;
  if (!format.is_signed) {
    throw InputError(fmt::format(
        "{}: sign-magnitude cannot hold its codes: they come from a quantizer without zero and have no sign; "
        "use twos, offset or gray",
        tensor.name));
  }
  const int lowest = -(1 << (format.bits - 1));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (tensor.code(i) == lowest) {
      throw InputError(
          fmt::format("{}: sign-magnitude cannot hold the code {} at index {} (its {} bits reach from {} to {}); train "
                      "with a narrow "
                      "range (--narrow) or use another encoding",
                      tensor.name, lowest, i, format.bits, lowest + 1, -lowest - 1));
    }
  }
}

}  // namespace steadfast::memory
