// SHA-256, which names models, datasets, settings and trials by their content.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace steadfast {

// 64 lower-case hexadecimal digits.
std::string Sha256(std::span<const uint8_t> bytes);
std::string Sha256(std::string_view text);

}  // namespace steadfast
