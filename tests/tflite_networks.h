// TFLite files for tests: random 8-bit networks of the operators that are read, as TensorFlow's converter writes them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace steadfast {

struct TfliteNetwork {
  std::vector<uint8_t> bytes;
  int64_t input_elements = 0;
};
// Of a seed: convolutions of all kinds, additions, pools, reshaping, layers behind it, with Softmax or without.
TfliteNetwork RandomTflite(uint64_t seed);
// The same of uint8: all codes unsigned, weights with a zero point and one scale.
TfliteNetwork RandomUnsignedTflite(uint64_t seed);

// RESIZE_NEAREST_NEIGHBOR of so many rows; a TRANSPOSE that moves images; an ADD of int8 and uint8.
TfliteNetwork TfliteResized(int32_t from, int32_t to);
TfliteNetwork TfliteOfMovedImages();
TfliteNetwork TfliteOfMixedTypes();

// A layer between QUANTIZE and DEQUANTIZE: of real numbers to real numbers.
TfliteNetwork TfliteOfReals(uint64_t seed, int32_t inputs);

// What a graph's operators compute, in their order.
struct ComputedTensor {
  std::string name;
  int64_t elements;
};
std::vector<ComputedTensor> ComputedTensors(std::span<const uint8_t> tflite);
// The same file whose graph gives all of them.
std::vector<uint8_t> WithAllOutputs(std::span<const uint8_t> tflite);

// Two layers whose biases are two tensors in one buffer.
TfliteNetwork TfliteWithSharedBiases(uint64_t seed);

}  // namespace steadfast
