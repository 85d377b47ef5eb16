#include "steadfast/train/differentiable_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace steadfast::train {

using torch::Tensor;

namespace {

// Codes are rounded in the value and not in the derivative. x is within the range of codes, where the difference to its
// rounding is exact.
Tensor RoundedStraightThrough(const Tensor& x) {
  return x + (torch::round(x) - x).detach();  // round: ties to even
}

bool HasLongSums(const model::QuantizedModel& model, const model::Node& node) {
  const model::WeightTensor& weight = model.weights[static_cast<size_t>(*model::WeightOf(node))];
  const model::ActivationCoding& input = *model.values[static_cast<size_t>(node.input())].coding;
  const int64_t largest_level = std::max(input.zero_point, input.highest_code() - input.zero_point);
  const int64_t per_output = model::ProductsPerOutput(model, node);
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    int64_t sum = 0;
    for (int64_t i = 0; i < per_output; ++i)
      sum += std::abs(weight.format.level(weight.codes[static_cast<size_t>(o * per_output + i)]));
    if (sum * largest_level >= int64_t{1} << 24) return true;
  }
  return false;
}

// [out] as it stands beside a tensor of so many dimensions, along dimension `along`.
Tensor Along(const std::vector<float>& values, int64_t dimensions, int64_t along, torch::Dtype dtype) {
  std::vector<int64_t> shape(static_cast<size_t>(dimensions), 1);
  shape[static_cast<size_t>(along)] = static_cast<int64_t>(values.size());
  return torch::tensor(values).to(dtype).reshape(shape);
}

}  // namespace

DifferentiableModel::DifferentiableModel(const model::QuantizedModel& model, torch::Dtype dtype)
    : model_(model), dtype_(dtype), by_tensor_(model.weights.size()) {
  std::vector<Tensor> flat;
  int64_t offset = 0;
  for (size_t t = 0; t < model.weights.size(); ++t) {
    const model::WeightTensor& weight = model.weights[t];
    std::vector<float> levels;
    for (int16_t code : weight.codes) levels.push_back(static_cast<float>(weight.format.level(code)));
    const auto count = static_cast<int64_t>(levels.size());
    const Tensor scales = Along(weight.scale, static_cast<int64_t>(weight.shape.size()), 0, dtype);
    by_tensor_[t] = {torch::tensor(levels).to(dtype).reshape(weight.shape), 1.0 / scales, false};
    flat.push_back((by_tensor_[t].levels * scales).reshape(-1));
    parts_.push_back({weight.name, offset, count, weight.outputs()});
    offset += count;
  }
  weights_ = torch::cat(flat);
  for (const model::Node& node : model.nodes) {
    if (const auto weight = model::WeightOf(node)) {
      by_tensor_[static_cast<size_t>(*weight)].long_sums = dtype == torch::kFloat && HasLongSums(model, node);
    }
  }
}

// One forward pass.
class DifferentiableRun {
 public:
  DifferentiableRun(const DifferentiableModel& owner, const Tensor& images, const Tensor& perturbation)
      : owner_(owner), model_(owner.model_), dtype_(owner.dtype_), perturbation_(perturbation) {
    codes.resize(model_.values.size());
    codes[0] = images.to(dtype_);
    if (model_.values[0].shape.flat) codes[0] = codes[0].flatten(1);
  }

  void Run() {
    for (const model::Node& node : model_.nodes) {
      std::visit([&](const auto& operation) { RunNode(node, operation); }, node.operation);
    }
  }

  std::vector<Tensor> codes;
  Tensor logits;

 private:
  const Tensor& InputCodes(const model::Node& node) const { return codes[static_cast<size_t>(node.input())]; }
  Tensor InputLevels(const model::Node& node) const {
    return InputCodes(node) - static_cast<float>(model_.values[static_cast<size_t>(node.input())].coding->zero_point);
  }
  Tensor& Output(const model::Node& node) { return codes[static_cast<size_t>(node.output)]; }

  Tensor WeightLevels(int tensor) const {
    const auto& weight = owner_.by_tensor_[static_cast<size_t>(tensor)];
    if (!perturbation_.defined()) return weight.levels;
    const auto& part = owner_.parts_[static_cast<size_t>(tensor)];
    const Tensor own = perturbation_.narrow(0, part.offset, part.count).reshape(weight.levels.sizes());
    return weight.levels + own * weight.inverse_scales;
  }

  // Weighted sums of levels; in double where they would not fit a float's 24 bits.
  template <typename Product>
  Tensor Sums(const model::Node& node, int tensor, Product product) const {
    const Tensor input = InputLevels(node), weight = WeightLevels(tensor);
    if (!owner_.by_tensor_[static_cast<size_t>(tensor)].long_sums) return product(input, weight);
    return product(input.to(torch::kDouble), weight.to(torch::kDouble)).to(dtype_);
  }

  static Tensor BelowBecomes(const Tensor& values, double zero_below, double lowest) {
    if (zero_below <= lowest) return values;
    return torch::where(values.detach() < zero_below, torch::full_like(values, lowest), values);
  }

  void Requantize(const model::Node& node, const Tensor& sums) {
    const model::Requantization r = model::RequantizationOf(model_, node);
    const Tensor product = sums * Along(r.scale, sums.dim(), 1, dtype_);
    const Tensor real = product + Along(r.offset, sums.dim(), 1, dtype_);
    if (r.real) {
      logits = real;
      return;
    }
    Output(node) =
        BelowBecomes(RoundedStraightThrough(torch::clamp(real, r.lowest, r.highest)), r.zero_below, r.lowest);
  }

  Tensor RealLevels(int value) const {
    const model::ActivationCoding& coding = *model_.values[static_cast<size_t>(value)].coding;
    return (codes[static_cast<size_t>(value)] - static_cast<float>(coding.zero_point)) * coding.scale;
  }
  void Quantize(const model::Node& node, const Tensor& reals, bool relu) {
    const model::Quantization q = model::QuantizationOf(*model_.values[static_cast<size_t>(node.output)].coding, relu);
    const Tensor scaled =
        torch::clamp(reals / q.scale, q.lowest - q.zero_point, q.highest - q.zero_point);  // integers: same clipping
    Output(node) = BelowBecomes(RoundedStraightThrough(scaled) + q.zero_point, q.zero_below, q.lowest);
  }

  void RunNode(const model::Node& node, const model::Convolution& op) {
    const model::Window& w = op.window;
    Requantize(node, Sums(node, op.weight, [&](const Tensor& input, const Tensor& weight) {
                 return torch::conv2d(input, weight, {}, {w.stride_h, w.stride_w}, {w.pad_h, w.pad_w},
                                      {w.dilation_h, w.dilation_w}, op.groups);
               }));
  }
  void RunNode(const model::Node& node, const model::Linear& op) {
    Requantize(node, Sums(node, op.weight,
                          [](const Tensor& input, const Tensor& weight) { return torch::linear(input, weight); }));
  }
  void RunNode(const model::Node& node, const model::MaxPool& op) {
    const model::Window& w = op.window;
    Output(node) = torch::max_pool2d(InputCodes(node), {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w},
                                     {w.pad_h, w.pad_w}, {w.dilation_h, w.dilation_w});
  }
  void RunNode(const model::Node& node, const model::AveragePool& op) {
    const model::Window& w = op.window;
    const double elements = double{static_cast<double>(w.kernel_h)} * w.kernel_w;
    const Tensor means = torch::avg_pool2d(InputLevels(node).to(torch::kDouble), {w.kernel_h, w.kernel_w},
                                           {w.stride_h, w.stride_w}, {w.pad_h, w.pad_w});
    Requantize(node, RoundedStraightThrough(means * elements).to(dtype_));
  }
  // The others are no sums of products: their definition is model::CodeOf, code for code.
  void RunNode(const model::Node& node, const model::Add& op) {
    Quantize(node, RealLevels(node.inputs[0]) + RealLevels(node.inputs[1]), op.relu);
  }
  void RunNode(const model::Node& node, const model::Concatenate&) {
    std::vector<Tensor> parts;
    for (int input : node.inputs) parts.push_back(RealLevels(input));
    Quantize(node, torch::cat(parts, 1), false);
  }
  void RunNode(const model::Node& node, const model::Flatten&) { Output(node) = InputCodes(node).flatten(1); }

  const DifferentiableModel& owner_;
  const model::QuantizedModel& model_;
  const torch::Dtype dtype_;
  const Tensor& perturbation_;
};

Tensor DifferentiableModel::Logits(const Tensor& images, const Tensor& perturbation, std::vector<Tensor>* codes) const {
  DifferentiableRun run(*this, images, perturbation);
  run.Run();
  if (codes != nullptr) *codes = std::move(run.codes);
  return run.logits;
}

}  // namespace steadfast::train
