// How a code becomes the bits that memory cells hold.
//
// For a signed code q of b bits:
//   twos    two's complement
//   sign    sign-magnitude: bit b-1 is the sign, the rest |q|; cannot hold -2^(b-1); the pattern "-0" reads as 0
//   offset  offset binary: q + 2^(b-1)
//   gray    u ^ (u >> 1) of the two's complement pattern u
// Codes of a quantizer without zero are unsigned: twos and offset store the code itself, gray its Gray code, and sign
// is refused, because such a code has no sign.
#pragma once

#include <cstdint>
#include <string_view>

#include "steadfast/model/quantized_model.h"  // CodeFormat, Parameter

namespace steadfast::memory {

enum class Encoding { kTwosComplement, kSignMagnitude, kOffsetBinary, kGray };

std::string_view NameOf(Encoding encoding);     // "twos", "sign", "offset", "gray"
Encoding ParseEncoding(std::string_view text);  // throws UsageError

// The pattern of a code, in the low format.bits bits. The code must be encodable.
uint32_t Encode(const model::CodeFormat& format, Encoding encoding, int code);

// The code of a pattern; every pattern of format.bits bits has one.
int Decode(const model::CodeFormat& format, Encoding encoding, uint32_t pattern);

// Throws InputError that names the parameter and the reason where its codes cannot be stored in this encoding.
void CheckEncodable(const model::Parameter& tensor, Encoding encoding);

}  // namespace steadfast::memory
