// Any bytes are read, or refused by an error that names the file.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "steadfast/base/error.h"
#include "steadfast/network/float_onnx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace steadfast;  // NOLINT
  const std::string kName = "fuzzed";
  const std::span<const uint8_t> bytes(data, size);
  try {
    network::FloatGraphOf(bytes, kName, "/nowhere");
  } catch (const InputError& error) {
    if (std::string(error.what()).find(kName) == std::string::npos) std::abort();
  }
  return 0;
}
