#include "steadfast/network/input_folding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"

namespace steadfast::network {
namespace {

// x becomes factor * x + term, of each channel.
struct Affine {
  std::vector<double> factor, term;
};

// Takes the normalization that reads the input out of the graph, if there is one, into `affine`.
void TakeNormalization(FloatGraph& graph, Affine& affine) {
  for (;;) {
    auto users = graph.Users()[0];
    std::erase_if(users, [&](int user) {
      return std::holds_alternative<Positions>(graph.nodes[static_cast<size_t>(user)].operation);
    });
    if (users.size() != 1) return;
    const auto first = static_cast<size_t>(users[0]);
    const auto* op = std::get_if<BatchNormalization>(&graph.nodes[first].operation);
    if (op == nullptr || graph.values[0].shape.flat) return;
    for (size_t c = 0; c < affine.factor.size(); ++c) {
      const double factor = graph.parameter(op->gamma).values[c] /
                            std::sqrt(double{graph.parameter(op->variance).values[c]} + op->epsilon);
      if (factor == 0) throw InputError(fmt::format("{}: its normalization multiplies the input by 0", graph.name));
      affine.factor[c] *= factor;
      affine.term[c] =
          (affine.term[c] - graph.parameter(op->mean).values[c]) * factor + graph.parameter(op->beta).values[c];
    }
    const int output = graph.nodes[first].output;
    graph.nodes.erase(graph.nodes.begin() + static_cast<int64_t>(first));
    for (FloatNode& node : graph.nodes) std::replace(node.inputs.begin(), node.inputs.end(), output, 0);
  }
}

// Of byte / 255.
Affine AffineOf(const FloatGraph& graph, const InputNormalization& normalization) {
  const auto channels = static_cast<size_t>(graph.values[0].shape.flat ? 1 : graph.values[0].shape.channels);
  const auto of_channel = [&](const std::vector<double>& values, size_t c, const char* what) {
    if (values.size() != 1 && values.size() != channels)
      throw InputError(fmt::format("{}: {} has {} values, and the input has {} channels", graph.name, what,
                                   values.size(), channels));
    return values[values.size() == 1 ? 0 : c];
  };
  Affine affine;
  for (size_t c = 0; c < channels; ++c) {
    const double mean = of_channel(normalization.mean, c, "mean");
    const double deviation = of_channel(normalization.deviation, c, "std");
    if (!(deviation > 0))
      throw InputError(fmt::format("{}: a std of {}, expected a positive number", graph.name, deviation));
    affine.factor.push_back(1 / deviation);
    affine.term.push_back(-mean / deviation);
  }
  return affine;
}

}  // namespace

InputNormalization NormalizationOf(const FloatGraph& graph) {
  const auto found = graph.metadata.find("steadfast.input");
  if (found == graph.metadata.end()) return {};
  const auto said = nlohmann::json::parse(found->second, nullptr, false);
  if (!said.is_object() || !said.contains("scale") || !said["scale"].is_number() || !said.contains("zero_point") ||
      !said["zero_point"].is_number_integer())
    throw InputError(fmt::format("{}: its metadata steadfast.input is damaged", graph.name));
  const double scale = said["scale"], zero_point = said["zero_point"];
  if (!(scale > 0)) throw InputError(fmt::format("{}: its metadata steadfast.input is damaged", graph.name));
  return {{zero_point / 255.0}, {1.0 / (255.0 * scale)}};
}

void SetInput(FloatGraph& graph, ByteScale scale) {
  graph.metadata["steadfast.input"] = nlohmann::json({{"scale", scale.scale}, {"zero_point", scale.zero_point}}).dump();
}

ByteScale ByteScaleOf(const FloatGraph& graph, const InputNormalization& normalization) {
  FloatGraph copy = graph;
  Affine affine = AffineOf(graph, normalization);
  TakeNormalization(copy, affine);
  double mean = 0, deviation = 0;
  for (size_t c = 0; c < affine.factor.size(); ++c) {
    mean += -affine.term[c] / affine.factor[c] / static_cast<double>(affine.factor.size());
    deviation += 1 / std::abs(affine.factor[c]) / static_cast<double>(affine.factor.size());
  }
  return {static_cast<float>(1.0 / (255.0 * deviation)),
          static_cast<int>(std::clamp(std::round(255.0 * mean), 0.0, 255.0))};
}

double FoldInput(FloatGraph& graph, const InputNormalization& normalization, ByteScale scale) {
  const ValueShape& input = graph.values[0].shape;
  // What the network's input x' is, of the new input x = scale * (byte - zero_point).
  Affine affine = AffineOf(graph, normalization);
  for (size_t c = 0; c < affine.factor.size(); ++c) {
    affine.term[c] += affine.factor[c] * scale.zero_point / 255.0;
    affine.factor[c] /= 255.0 * scale.scale;
  }
  TakeNormalization(graph, affine);
  double difference = 0;  // of paddings, in bytes
  bool changes = false;
  for (size_t c = 0; c < affine.factor.size(); ++c) {
    difference = std::max(difference, std::abs(affine.term[c] / (affine.factor[c] * scale.scale)));
    changes = changes || std::abs(affine.factor[c] - 1) > 1e-9 || std::abs(affine.term[c]) > 1e-9;
  }
  if (!changes) return 0;
  double padded = 0;
  std::vector<uint8_t> is_folded(graph.parameters.size(), 0);
  const auto fold = [&](const FloatNode& node, int weight, int& bias, int64_t groups) {
    FloatParameter& weights = graph.parameters[static_cast<size_t>(weight)];
    if (is_folded[static_cast<size_t>(weight)]++ != 0)
      throw InputError(fmt::format("{}: {}: its weights are used twice", graph.name, Describe(node)));
    if (static_cast<int64_t>(weights.values.size()) != weights.elements())
      throw InputError(fmt::format("{}: weights without values take no normalization", graph.name));
    const int64_t outputs = weights.shape[0], inputs = weights.elements() / outputs;
    if (bias < 0) {
      bias = static_cast<int>(graph.parameters.size());
      graph.parameters.push_back(
          {node.name + ".bias", {outputs}, std::vector<float>(static_cast<size_t>(outputs), 0.0f)});
      is_folded.push_back(0);
    }
    FloatParameter& w = graph.parameters[static_cast<size_t>(weight)];
    FloatParameter& b = graph.parameters[static_cast<size_t>(bias)];
    // Flattened inputs hold the pixels of a channel side by side.
    const int64_t of_one = input.flat            ? inputs
                           : w.shape.size() == 2 ? inputs / input.channels
                                                 : inputs / (input.channels / groups);
    for (int64_t o = 0; o < outputs; ++o) {
      double term = b.values[static_cast<size_t>(o)];
      const int64_t first = input.flat ? 0 : o / (outputs / groups) * (input.channels / groups);
      for (int64_t i = 0; i < inputs; ++i) {
        const auto c = static_cast<size_t>(first + i / of_one);
        float& value = w.values[static_cast<size_t>(o * inputs + i)];
        term += value * affine.term[c];
        value = static_cast<float>(value * affine.factor[c]);
      }
      b.values[static_cast<size_t>(o)] = static_cast<float>(term);
    }
  };
  // The input itself, and what is flattened of it.
  std::vector<uint8_t> is_input(graph.values.size(), 0);
  is_input[0] = 1;
  for (FloatNode& node : graph.nodes) {
    if (std::none_of(node.inputs.begin(), node.inputs.end(),
                     [&](int v) { return is_input[static_cast<size_t>(v)] != 0; }))
      continue;
    if (auto* convolution = std::get_if<Convolution>(&node.operation)) {
      fold(node, convolution->weight, convolution->bias, convolution->groups);
      if (convolution->window.has_padding()) padded = difference;
    } else if (auto* linear = std::get_if<Linear>(&node.operation)) {
      fold(node, linear->weight, linear->bias, 1);
    } else if (std::holds_alternative<Positions>(node.operation)) {
      continue;
    } else if (std::holds_alternative<Flatten>(node.operation)) {
      is_input[static_cast<size_t>(node.output)] = 1;
    } else {
      throw InputError(
          fmt::format("{}: {}: takes the input; its normalization can only become part of a convolution or "
                      "linear layer",
                      graph.name, Describe(node)));
    }
  }
  return padded;
}

}  // namespace steadfast::network
