#include "steadfast/network/quantized_step.h"

#include <algorithm>
#include <cmath>

#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/multiply.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/rearrange.h"
#include "steadfast/model/operators/softmax.h"

namespace steadfast::network {
namespace {

using model::ActivationCoding;
using model::QuantizedModel;

// The operation of a step, its weighted part known.
struct OperationOf {
  model::Weighted weighted;
  int channels;
  model::Operation operator()(const Convolution& op) const {
    return model::Convolution{weighted, op.window, op.groups};
  }
  model::Operation operator()(const Linear&) const { return model::Linear{weighted}; }
  model::Operation operator()(const BatchNormalization&) const {  // alone: see WeightedOf
    return model::Convolution{weighted, Window{}, channels};
  }
  model::Operation operator()(const Clip&) const { return model::Elementwise{}; }
  model::Operation operator()(const Function& op) const { return model::Elementwise{op.name, op.alpha, op.beta}; }
  model::Operation operator()(const MaxPool& op) const { return model::MaxPool{op.window}; }
  model::Operation operator()(const AveragePool& op) const { return model::AveragePool{op.window}; }
  model::Operation operator()(const Add&) const { return model::Add{}; }
  model::Operation operator()(const Concatenate&) const { return model::Concatenate{}; }
  model::Operation operator()(const Flatten&) const { return model::Flatten{}; }
  model::Operation operator()(const Multiply&) const { return model::Multiply{}; }
  model::Operation operator()(const Product& op) const {
    return model::Product{op.transposed_left, op.groups, op.factor};
  }
  model::Operation operator()(const Softmax& op) const { return model::Softmax{op.groups}; }
  model::Operation operator()(const LayerNormalization& op) const { return model::LayerNormalization{op.epsilon}; }
  model::Operation operator()(const Rearrange& op) const { return model::Rearrange{op.shape, op.from}; }
  model::Operation operator()(const Positions& op) const { return model::OneHotPositions(op.height, op.width); }
};

model::Weighted WeightedOf(QuantizedModel& model, const FusedStep& step, const std::vector<int64_t>& shape,
                           const StepConstants& constants) {
  const int weight = constants.codes.empty() ? model::AddOnes(model, step.name + ".one", shape[0])
                                             : model::AddWeights(model, step.name + ".weight", shape, constants.format,
                                                                 constants.scales, constants.codes);
  model::Weighted weighted = model::AddAffine(model, step.name, weight, {}, constants.bias);
  if (constants.gamma.empty()) return weighted;
  const auto floats = [&](const char* ending, model::Role role, const std::vector<float>& values) {
    return model::AddFloats(model, step.name + ending, role, {static_cast<int64_t>(values.size())}, values);
  };
  model::AffineStep normalize{model::AffineStep::Kind::kNormalize,
                              floats(".gamma", model::Role::kMultiplier, constants.gamma)};
  normalize.beta = floats(".beta", model::Role::kBias, constants.beta);
  normalize.mean = floats(".mean", model::Role::kMean, constants.mean);
  normalize.variance = floats(".variance", model::Role::kVariance, constants.variance);
  normalize.epsilon = step.normalization->epsilon;
  weighted.steps.push_back(normalize);
  return weighted;
}

// Which codes a clip leaves.
model::Activation ActivationOf(const Clip& clip, const ActivationCoding& coding) {
  model::Activation activation;
  if (clip.lowest == 0) activation.relu = true;
  const auto code = [&](float bound) {
    const double steps = std::nearbyint(double{bound} / coding.scale);
    return static_cast<int>(std::clamp(steps + coding.zero_point, 0.0, static_cast<double>(coding.highest_code())));
  };
  if (clip.lowest < 0) activation.lowest = code(clip.lowest);
  if (!std::isinf(clip.highest) && code(clip.highest) < coding.highest_code()) activation.highest = code(clip.highest);
  return activation;
}

}  // namespace

StepExporter::StepExporter(const FloatGraph& graph, QuantizedModel& model) : graph_(graph), model_(model) {
  value_of_.assign(graph.values.size(), -1);
  value_of_[0] = 0;
}

const ActivationCoding& StepExporter::CodingOf(int value) const {
  return *model_.value(value_of_[static_cast<size_t>(value)]).coding;
}

void StepExporter::Add(const FusedStep& step, const std::optional<ActivationCoding>& coding,
                       const StepConstants* constants) {
  const FloatNode& source = graph_.nodes[static_cast<size_t>(step.node)];
  const int weight = WeightOf(source);
  const int64_t channels = graph_.value(step.output).shape.channels;
  OperationOf operation{{}, static_cast<int>(channels)};
  if (constants != nullptr)
    operation.weighted =
        WeightedOf(model_, step, weight < 0 ? std::vector{channels} : graph_.parameter(weight).shape, *constants);
  model::Node node{step.name, std::visit(operation, source.operation), {}, static_cast<int>(model_.values.size())};
  for (const int input : step.inputs) node.inputs.push_back(value_of_[static_cast<size_t>(input)]);
  const bool is_moved = step.range == OutputRange::kAsInput;
  const std::optional<ActivationCoding> given = is_moved                             ? CodingOf(step.inputs[0])
                                                : step.range == OutputRange::kOneHot ? ActivationCoding{}
                                                                                     : coding;
  const auto* own = std::get_if<Clip>(&source.operation);
  if (given && step.clip) node.activation = ActivationOf(*step.clip, *given);
  if (given && own != nullptr) node.activation = ActivationOf(*own, *given);
  const std::string name = !given ? "logits" : constants != nullptr ? step.name + ".codes" : step.name;
  value_of_[static_cast<size_t>(step.output)] = node.output;
  model_.values.push_back({name, model::OutputShape(model_, node), given});
  if (!given) model_.output = node.output;
  model_.nodes.push_back(std::move(node));
}

}  // namespace steadfast::network
