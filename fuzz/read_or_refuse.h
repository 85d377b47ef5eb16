// What every fuzzer of a reader asks: any bytes are read, or refused by an error that names the file.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "steadfast/base/error.h"

namespace steadfast {

template <typename Reader>
int ReadOrRefuse(const uint8_t* data, size_t size, const Reader& read) {
  const std::string name = "fuzzed";
  try {
    read(std::span(data, size), name);
  } catch (const InputError& error) {
    if (std::string(error.what()).find(name) == std::string::npos) std::abort();
  }
  return 0;
}

}  // namespace steadfast
