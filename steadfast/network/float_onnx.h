// Float graphs from and to ONNX files, as PyTorch's exporters write them.
//
// Read, opsets 9 to 23: Conv (grouped, depthwise, 1-D as 2-D), BatchNormalization, Relu, Clip, LeakyRelu, HardSigmoid,
// HardSwish, Sigmoid, Tanh, Gelu (and what exporters wrote for it and for HardSwish), MaxPool, AveragePool,
// GlobalAveragePool and ReduceMean over rows and columns, Gemm, MatMul, Add, Concat, Flatten (and Reshape, Squeeze,
// Unsqueeze that mean the same), Pad with zeros in front of a convolution or mean, constants added or multiplied
// channel by channel, Dropout, Identity and Cast; a Softmax at the end is left out, since it changes no decision.
// Constants may stand in initializers, Constant nodes, and files beside the model. Everything else is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "steadfast/network/float_graph.h"

namespace steadfast::network {

// Whether the bytes are an ONNX model that holds no quantizer.
bool IsFloatOnnx(std::span<const uint8_t> bytes);

// Throws InputError naming file and node, IoError where a file cannot be read.
FloatGraph ReadFloatOnnx(const std::filesystem::path& path);
// `folder`: where files of external data lie.
FloatGraph FloatGraphOf(std::span<const uint8_t> bytes, const std::string& name, const std::filesystem::path& folder);

// SHA-256 of a file's bytes, or, where it keeps data beside itself, of that and of those files' bytes.
std::string HashOfFile(const std::filesystem::path& path);

// Opset 17. Parameters without values are written as zeros.
std::string ToFloatOnnx(const FloatGraph& graph);

}  // namespace steadfast::network
