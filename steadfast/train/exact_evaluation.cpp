#include "steadfast/train/exact_evaluation.h"

#include <fmt/format.h>

#include <cstdlib>

#include "steadfast/base/error.h"

namespace steadfast::train {
namespace {

using torch::Tensor;

Tensor LevelsOf(const model::WeightTensor& weight) {
  std::vector<float> levels;
  for (int16_t code : weight.codes) levels.push_back(static_cast<float>(weight.format.level(code)));
  return torch::tensor(levels).reshape(weight.shape);
}

void CheckSums(const model::QuantizedModel& model, const model::Node& node) {
  const model::WeightTensor& weight = model.weights[static_cast<size_t>(*model::WeightOf(node))];
  const model::ActivationCoding& input = *model.values[static_cast<size_t>(node.input())].coding;
  const int64_t largest_level = std::max(input.zero_point, input.highest_code() - input.zero_point);
  const int64_t per_output = model::ProductsPerOutput(model, node);
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    int64_t sum = 0;
    for (int64_t i = 0; i < per_output; ++i)
      sum += std::abs(weight.format.level(weight.codes[static_cast<size_t>(o * per_output + i)]));
    if (sum * largest_level >= int64_t{1} << 24) {
      throw InputError(
          fmt::format("{}: sums can reach {}, and float32 is exact only under 2^24", node.name, sum * largest_level));
    }
  }
}

Tensor PerChannel(const std::vector<float>& values, int64_t dimensions) {
  std::vector<int64_t> shape(static_cast<size_t>(dimensions), 1);
  shape[1] = static_cast<int64_t>(values.size());
  return torch::tensor(values).reshape(shape);
}

class Executor {
 public:
  Executor(const model::QuantizedModel& model, const Tensor& images) : model_(model) {
    result_.codes.resize(model.values.size());
    result_.codes[0] = images.to(torch::kFloat);
  }

  ExactEvaluation Run() {
    for (const model::Node& node : model_.nodes) {
      std::visit([&](const auto& operation) { Run(node, operation); }, node.operation);
    }
    return std::move(result_);
  }

 private:
  const Tensor& InputCodes(const model::Node& node) const { return result_.codes[static_cast<size_t>(node.input())]; }
  Tensor InputLevels(const model::Node& node) const {
    return InputCodes(node) - static_cast<float>(model_.values[static_cast<size_t>(node.input())].coding->zero_point);
  }

  void Requantize(const model::Node& node, const Tensor& sums) {
    const model::Requantization r = model::RequantizationOf(model_, node);
    const Tensor product = sums * PerChannel(r.scale, sums.dim());
    const Tensor real = product + PerChannel(r.offset, sums.dim());
    if (r.real) {
      result_.logits = real;
      return;
    }
    const Tensor codes = torch::clamp(torch::round(real), r.lowest, r.highest);  // round: ties to even
    result_.codes[static_cast<size_t>(node.output)] =
        torch::where(codes < static_cast<float>(r.zero_below), torch::full_like(codes, r.lowest), codes);
  }

  Tensor RealLevels(int value) const {
    const model::ActivationCoding& coding = *model_.values[static_cast<size_t>(value)].coding;
    return (result_.codes[static_cast<size_t>(value)] - static_cast<float>(coding.zero_point)) * coding.scale;
  }
  void Quantize(const model::Node& node, const Tensor& reals, bool relu) {
    const model::Quantization q = model::QuantizationOf(*model_.values[static_cast<size_t>(node.output)].coding, relu);
    const Tensor codes = torch::clamp(torch::round(reals / q.scale) + q.zero_point, q.lowest, q.highest);
    result_.codes[static_cast<size_t>(node.output)] =
        torch::where(codes < q.zero_below, torch::full_like(codes, q.lowest), codes);
  }

  void Run(const model::Node& node, const model::Convolution& op) {
    CheckSums(model_, node);
    const model::Window& w = op.window;
    Requantize(node,
               torch::conv2d(InputLevels(node), LevelsOf(model_.weights[static_cast<size_t>(op.weight)]), {},
                             {w.stride_h, w.stride_w}, {w.pad_h, w.pad_w}, {w.dilation_h, w.dilation_w}, op.groups));
  }
  void Run(const model::Node& node, const model::Linear& op) {
    CheckSums(model_, node);
    Requantize(node, torch::linear(InputLevels(node), LevelsOf(model_.weights[static_cast<size_t>(op.weight)])));
  }
  void Run(const model::Node& node, const model::MaxPool& op) {
    const model::Window& w = op.window;
    result_.codes[static_cast<size_t>(node.output)] =
        torch::max_pool2d(InputCodes(node), {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w}, {w.pad_h, w.pad_w},
                          {w.dilation_h, w.dilation_w});
  }
  void Run(const model::Node& node, const model::AveragePool& op) {
    const model::Window& w = op.window;
    const double elements = double{static_cast<double>(w.kernel_h)} * w.kernel_w;
    const Tensor means = torch::avg_pool2d(InputLevels(node).to(torch::kDouble), {w.kernel_h, w.kernel_w},
                                           {w.stride_h, w.stride_w}, {w.pad_h, w.pad_w});
    Requantize(node, torch::round(means * elements).to(torch::kFloat));
  }
  // The others are no sums of products: their definition is model::CodeOf, code for code.
  void Run(const model::Node& node, const model::Add& op) {
    Quantize(node, RealLevels(node.inputs[0]) + RealLevels(node.inputs[1]), op.relu);
  }
  void Run(const model::Node& node, const model::Concatenate&) {
    std::vector<Tensor> parts;
    for (int input : node.inputs) parts.push_back(RealLevels(input));
    Quantize(node, torch::cat(parts, 1), false);
  }
  void Run(const model::Node& node, const model::Flatten&) {
    result_.codes[static_cast<size_t>(node.output)] = InputCodes(node).flatten(1);
  }

  const model::QuantizedModel& model_;
  ExactEvaluation result_;
};

}  // namespace

ExactEvaluation RunInLibTorch(const model::QuantizedModel& model, const Tensor& images) {
  const torch::NoGradGuard no_gradients;
  return Executor(model, images).Run();
}

}  // namespace steadfast::train
