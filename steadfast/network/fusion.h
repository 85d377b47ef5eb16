// Which operators of a float graph become one operator on integer codes, and where quantizers stand: behind each such
// group. Training and post-training quantization both follow it, so that they place quantizers alike.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "steadfast/network/float_graph.h"

namespace steadfast::network {

// What the codes of a step's output must hold.
enum class OutputRange {
  kReal,      // the network's output: no codes
  kPositive,  // nothing below 0
  kSigned,
  kAsInput,  // the codes of the input, moved about
  kOneHot,   // 0 and 1, of scale 1
};

// A weighted sum, an addition, a pool or a function, with what follows it.
struct FusedStep {
  std::string name;         // of its first node
  int node = -1;            // the operator
  std::vector<int> inputs;  // values: outputs of other steps, or 0
  int output = -1;          // value behind the last of its nodes
  std::optional<BatchNormalization> normalization;
  std::optional<Clip> clip;
  OutputRange range = OutputRange::kReal;
  // Whether the output is a mean or shares of a whole, or nothing that multiplies it with weights takes it (additions,
  // functions, normalizations do): such codes need more bits than others (ours).
  bool needs_precision = false;
};

// In the order of execution. Throws InputError, naming the node, where a graph has no such form: a normalization or
// function whose place no integer operator has.
std::vector<FusedStep> Fuse(const FloatGraph& graph);

// The names of the steps with weights, in order: what layer_bits of recipes may name.
std::vector<std::string> LayerNames(const FloatGraph& graph);

}  // namespace steadfast::network
