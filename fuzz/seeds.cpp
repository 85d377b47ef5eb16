// Writes small files of every form that is read, for fuzzers to start from: fuzz_seeds FOLDER.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "steadfast/base/file.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"
#include "tests/float_layouts.h"
#include "tests/onnx_styles.h"
#include "tests/qoperator_networks.h"
#include "tests/tflite_networks.h"

int main(int argc, char** argv) {
  using namespace steadfast;  // NOLINT
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const auto write = [&](const char* target, const char* form, uint64_t seed, const std::string& bytes) {
    std::filesystem::create_directories(folder / target);
    WriteFileWhole(folder / target / fmt::format("{}-{}", form, seed), bytes);
  };
  const auto moved = TfliteOfMovedImages().bytes;
  write("tflite", "moved-images", 0, std::string(moved.begin(), moved.end()));
  for (uint64_t seed = 0; seed < 60; ++seed) {
    write("quantized_onnx", "own", seed, model::ToOnnx(model::RandomModel(seed)));
    write("quantized_onnx", "styled", seed, MakeStyledModel(seed).bytes);
    write("quantized_onnx", "qoperator", seed, MakeQOperatorNetwork(seed).bytes);
    write("float_onnx", "layout", seed, MakeFloatLayout(seed).bytes);
    const auto tflite = RandomTflite(seed).bytes, of_uint8 = RandomUnsignedTflite(seed).bytes;
    write("tflite", "random", seed, std::string(tflite.begin(), tflite.end()));
    write("tflite", "uint8", seed, std::string(of_uint8.begin(), of_uint8.end()));
  }
  return 0;
}
