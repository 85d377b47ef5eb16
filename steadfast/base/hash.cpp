#include "steadfast/base/hash.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

#include "steadfast/base/error.h"

namespace steadfast {

std::string Sha256(std::span<const uint8_t> bytes) {
  std::array<uint8_t, 32> digest = {};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw Error("OpenSSL cannot compute SHA-256");
  }
  std::string text;
  for (uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string Sha256(std::string_view text) {
  return Sha256(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace steadfast
