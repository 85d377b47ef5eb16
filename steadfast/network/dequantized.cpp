#include "steadfast/network/dequantized.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/multiply.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/rearrange.h"
#include "steadfast/model/operators/softmax.h"
#include "steadfast/network/input_folding.h"

namespace steadfast::network {
namespace {

using model::AffineStep;
using model::QuantizedModel;

// An element of a parameter as a number.
float RealOf(const QuantizedModel& model, int index, int64_t element) {
  const model::Parameter& p = model.parameter(index);
  if (p.format.is_float()) return p.real(element);
  float scale = 1;
  if (p.scale >= 0) {
    const model::Parameter& scales = model.parameter(p.scale);
    const bool is_weight = p.role == model::Role::kWeight;
    scale = scales.real(scales.elements() == 1 ? 0 : is_weight ? p.OutputOf(element) : element);
  }
  const bool is_codes = p.format.kind == model::StorageFormat::Kind::kCodes;
  return scale * static_cast<float>(is_codes ? p.level(element) : p.integer(element));
}

class Dequantizing {
 public:
  explicit Dequantizing(const QuantizedModel& model)
      : model_(model), builder_(model.name, model.values[0].shape), value_of_(model.values.size(), -1) {}

  FloatGraph Run() {
    value_of_[0] = 0;
    for (const model::Node& node : model_.nodes) Add(node);
    FloatGraph graph = std::move(builder_.graph_);
    Prune(graph);
    if (!model_.real_input) {
      const model::ActivationCoding& coding = *model_.values[0].coding;
      SetInput(graph, {coding.scale, coding.zero_point});
    }
    return graph;
  }

 private:
  void Add(const model::Node& node) {
    std::vector<int> inputs;
    for (const int input : node.inputs) inputs.push_back(value_of_[static_cast<size_t>(input)]);
    int value = AddOperation(node, inputs);
    const auto& coding = model_.value(node.output).coding;
    if (coding) {
      if (coding->zero_below > 0)
        throw InputError(fmt::format("{}: {}: has a threshold on its codes (FATReLU), which no float network has",
                                     model_.name, node.name));
      if (!node.operation.definition().keeps_coding) value = Clipped(node, *coding, value);
      FloatValue& made = builder_.graph_.values[static_cast<size_t>(value)];
      made.scale = coding->scale;
      made.bits = coding->bits;
    }
    value_of_[static_cast<size_t>(node.output)] = value;
  }

  int AddOperation(const model::Node& node, const std::vector<int>& inputs) {
    const model::Operation& operation = node.operation;
    if (const auto* op = operation.As<model::Convolution>())
      return AddWeighted(node, op->weighted, Convolution{op->window, op->groups}, inputs);
    if (const auto* op = operation.As<model::Linear>()) return AddWeighted(node, op->weighted, Linear{}, inputs);
    if (const auto* op = operation.As<model::MaxPool>())
      return builder_.AddNode(node.name, MaxPool{op->window}, inputs);
    if (const auto* op = operation.As<model::AveragePool>())
      return builder_.AddNode(node.name, AveragePool{op->window}, inputs);
    if (operation.Is<model::Add>()) return builder_.AddNode(node.name, network::Add{}, inputs);
    if (operation.Is<model::Concatenate>()) return builder_.AddNode(node.name, Concatenate{}, inputs);
    if (const auto* op = operation.As<model::Rearrange>())
      return builder_.AddNode(node.name, Rearrange{op->shape, op->from}, inputs);
    if (operation.Is<model::Flatten>()) return builder_.AddNode(node.name, Flatten{}, inputs);
    if (const auto* op = operation.As<model::Elementwise>()) {
      if (op->function.empty()) return inputs[0];
      return builder_.AddNode(node.name, Function{op->function, op->alpha, op->beta}, inputs);
    }
    if (const auto* op = operation.As<model::Dequantize>(); op != nullptr && !op->of_probabilities) return inputs[0];
    if (operation.Is<model::Multiply>()) return builder_.AddNode(node.name, Multiply{}, inputs);
    if (const auto* op = operation.As<model::Product>())
      return builder_.AddNode(node.name, Product{op->transposed_left, op->groups, op->factor}, inputs);
    if (const auto* op = operation.As<model::Softmax>())
      return builder_.AddNode(node.name, Softmax{op->groups}, inputs);
    if (const auto* op = operation.As<model::LayerNormalization>())
      return builder_.AddNode(node.name, LayerNormalization{op->epsilon}, inputs);
    if (const auto* op = operation.As<model::Constant>();
        op != nullptr && *op == model::OneHotPositions(op->shape.height, op->shape.width))
      return builder_.AddNode(node.name, Positions{op->shape.height, op->shape.width}, inputs);
    throw InputError(fmt::format("{}: {}: {} has no float form here", model_.name, node.name, model::KindOf(node)));
  }

  // What the codes of an output cut off.
  int Clipped(const model::Node& node, const model::ActivationCoding& coding, int value) {
    const model::Activation& activation = node.activation;
    const int lowest = std::max(activation.relu ? coding.zero_point : 0, activation.lowest);
    Clip clip;
    // Codes from 0 cut a sum off as a ReLU would; means and the like have nothing below.
    const bool is_sum = node.operation.weighted() != nullptr || node.operation.Is<model::Add>() ||
                        node.operation.Is<model::Multiply>() || node.operation.Is<model::Product>();
    const bool is_relu = lowest == coding.zero_point && (is_sum || activation.relu);
    const bool has_top = activation.highest < coding.highest_code();
    if (!is_relu && activation.lowest <= 0 && !has_top) return value;
    if (!is_relu) clip.lowest = coding.scale * static_cast<float>(lowest - coding.zero_point);
    if (has_top) clip.highest = coding.scale * static_cast<float>(activation.highest - coding.zero_point);
    return builder_.AddNode(node.name + ".clip", clip, {value});
  }

  std::vector<float> FloatsOf(int parameter, int64_t outputs) const {
    const model::Parameter& p = model_.parameter(parameter);
    std::vector<float> values;
    for (int64_t i = 0; i < p.elements(); ++i) values.push_back(RealOf(model_, parameter, i));
    if (values.size() == 1) values.assign(static_cast<size_t>(outputs), values[0]);
    return values;
  }

  int AddWeighted(const model::Node& node, const model::Weighted& weighted, FloatOperation operation,
                  const std::vector<int>& inputs) {
    const model::Parameter& weight = model_.parameter(weighted.weight);
    if (weight.is_fixed) return AddSteps(node, weighted.steps, weight.outputs(), inputs[0], true);
    const int64_t outputs = weight.outputs(), products = weight.elements() / outputs;
    std::vector<float> values(static_cast<size_t>(weight.elements()));
    for (int64_t i = 0; i < weight.elements(); ++i)  // [output][product], whatever the file's order
      values[static_cast<size_t>(weight.OutputOf(i) * products + weight.ProductOf(i))] =
          RealOf(model_, weighted.weight, i);
    std::vector<int64_t> shape = weight.shape;
    if (shape.size() == 2) shape = {outputs, products};
    const int index = builder_.AddParameter(weight.name, shape, std::move(values));
    const model::Parameter& scale = model_.parameter(weight.scale);
    if (scale.elements() == 1) {
      builder_.graph_.parameters.back().scale = RealOf(model_, weight.scale, 0);
      builder_.graph_.parameters.back().bits = weight.format.bits();
    }
    size_t next = 0;
    int bias = -1;
    if (!weighted.steps.empty() && weighted.steps[0].kind == AffineStep::Kind::kAdd) {
      const model::Parameter& p = model_.parameter(weighted.steps[0].parameter);
      std::vector<float> terms = FloatsOf(weighted.steps[0].parameter, outputs);
      if (p.scale < 0 && !p.format.is_float()) {  // in steps of the sum
        for (int64_t c = 0; c < outputs; ++c)
          terms[static_cast<size_t>(c)] *= model_.value(node.input()).coding->real_scale() *
                                           RealOf(model_, weight.scale, scale.elements() == 1 ? 0 : c);
      }
      bias = builder_.AddParameter(p.name, {outputs}, std::move(terms));
      next = 1;
    }
    if (auto* convolution = std::get_if<Convolution>(&operation)) {
      convolution->weight = index;
      convolution->bias = bias;
    } else {
      std::get<Linear>(operation).weight = index;
      std::get<Linear>(operation).bias = bias;
    }
    const int sum = builder_.AddNode(node.name, operation, inputs);
    return AddSteps(node, {weighted.steps.begin() + static_cast<int64_t>(next), weighted.steps.end()}, outputs, sum);
  }

  // All steps as one normalization: a single one as it is, several as factor and term.
  int AddSteps(const model::Node& node, const std::vector<AffineStep>& steps, int64_t outputs, int sum,
               bool is_alone = false) {
    if (steps.empty() && !is_alone) return sum;
    BatchNormalization op{.epsilon = 0, .is_affine = true};
    const auto add = [&](const char* ending, std::vector<float> values) {
      return builder_.AddParameter(node.name + ending, {outputs}, std::move(values));
    };
    if (steps.size() == 1 && steps[0].kind == AffineStep::Kind::kNormalize) {
      op.gamma = add(".gamma", FloatsOf(steps[0].parameter, outputs));
      op.beta = add(".beta", FloatsOf(steps[0].beta, outputs));
      op.mean = add(".mean", FloatsOf(steps[0].mean, outputs));
      op.variance = add(".variance", FloatsOf(steps[0].variance, outputs));
      op.epsilon = steps[0].epsilon;
      op.is_affine = op.epsilon == 0;
      return builder_.AddNode(node.name + ".normalization", op, {sum});
    }
    const auto count = static_cast<size_t>(outputs);
    std::vector<double> factor(count, 1), term(count, 0);
    for (const AffineStep& step : steps) {
      const auto values = FloatsOf(step.parameter, outputs);
      for (size_t c = 0; c < count; ++c) {
        if (step.kind == AffineStep::Kind::kAdd) {
          term[c] += values[c];
          continue;
        }
        double by = values[c], shift = 0;
        if (step.kind == AffineStep::Kind::kNormalize) {
          by /= std::sqrt(double{FloatsOf(step.variance, outputs)[c]} + step.epsilon);
          shift = FloatsOf(step.beta, outputs)[c] - by * FloatsOf(step.mean, outputs)[c];
        }
        factor[c] *= by;
        term[c] = term[c] * by + shift;
      }
    }
    op.gamma = add(".gamma", {factor.begin(), factor.end()});
    op.beta = add(".beta", {term.begin(), term.end()});
    op.mean = add(".mean", std::vector<float>(count, 0));
    op.variance = add(".variance", std::vector<float>(count, 1));
    return builder_.AddNode(node.name + ".normalization", op, {sum});
  }

  const QuantizedModel& model_;
  GraphBuilder builder_;
  std::vector<int> value_of_;
};

}  // namespace

FloatGraph GraphOf(const QuantizedModel& model) {
  return Dequantizing(model).Run();
}

}  // namespace steadfast::network
