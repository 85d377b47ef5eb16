// Any bytes are read, or refused by an error that names the file.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "steadfast/base/error.h"
#include "steadfast/model/tflite_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace steadfast;  // NOLINT
  const std::string kName = "fuzzed";
  const std::span<const uint8_t> bytes(data, size);
  try {
    model::FromTflite(bytes, kName);
  } catch (const InputError& error) {
    if (std::string(error.what()).find(kName) == std::string::npos) std::abort();
  }
  return 0;
}
