#include "steadfast/model/tflite_file.h"

#include "fuzz/read_or_refuse.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return steadfast::ReadOrRefuse(data, size,
                                 [](auto bytes, const auto& name) { steadfast::model::FromTflite(bytes, name); });
}
