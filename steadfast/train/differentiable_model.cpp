#include "steadfast/train/differentiable_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "steadfast/base/error.h"
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
#include "steadfast/model/requantization.h"

namespace steadfast::train {

using torch::Tensor;

namespace {

// Codes are rounded in the value and not in the derivative. x is within the range of codes, where the difference to its
// rounding is exact.
Tensor RoundedStraightThrough(const Tensor& x) {
  return x + (torch::round(x) - x).detach();  // round: ties to even
}

// LibTorch's operators take the same padding on both sides. Any other is put round the tensor first, as zeros: level 0
// of a convolution or a mean, the lowest code of a maximum.
struct Padded {
  Tensor tensor;
  std::vector<int64_t> padding;

  Padded(const Tensor& input, const model::Window& w) : tensor(input), padding{w.pad_top, w.pad_left} {
    if (w.pad_top == w.pad_bottom && w.pad_left == w.pad_right) return;
    tensor = torch::constant_pad_nd(input, {w.pad_left, w.pad_right, w.pad_top, w.pad_bottom}, 0);
    padding = {0, 0};
  }
};

bool HasLongSums(const model::QuantizedModel& model, const model::Node& node) {
  const model::Parameter& weight = model.parameter(*model::WeightOf(node));
  const model::ActivationCoding& input = *model.value(node.input()).coding;
  const int64_t largest_level = std::max(input.zero_point, input.highest_code() - input.zero_point);
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    int64_t sum = 0;
    for (int64_t i = 0; i < weight.products(); ++i) sum += std::abs(weight.level(weight.IndexOf(o, i)));
    if (sum * largest_level >= int64_t{1} << 24) return true;
  }
  return false;
}

// One value a channel, [out], in a shape that broadcasts along dimension `channel` of a tensor with `dimensions`
// dimensions.
Tensor PerChannel(const std::vector<float>& values, int64_t dimensions, int64_t channel, torch::Dtype dtype) {
  std::vector<int64_t> shape(static_cast<size_t>(dimensions), 1);
  shape[static_cast<size_t>(channel)] = static_cast<int64_t>(values.size());
  return torch::tensor(values).to(dtype).reshape(shape);
}

}  // namespace

DifferentiableModel::DifferentiableModel(const model::QuantizedModel& model, torch::Dtype dtype)
    : model_(model), dtype_(dtype) {
  if (model.profile != model::Profile::kOnnx)
    throw InputError(
        fmt::format("{}: runs under {}'s integer arithmetic, of which no derivative is known here; inject "
                    "and sweep run it",
                    model.name, model::NameOf(model.profile)));
  std::vector<Tensor> flat;
  int64_t offset = 0;
  for (int index : model::WeightsOf(model)) {
    const model::Parameter& weight = model.parameter(index);
    const model::Parameter& stored_scales = model.parameter(weight.scale);
    std::vector<float> levels, of_levels;
    std::vector<int64_t> shape = weight.shape;  // outputs first, whatever the file's order
    if (weight.output_axis == 1) std::swap(shape[0], shape[1]);
    for (int64_t o = 0; o < weight.outputs(); ++o) {
      for (int64_t i = 0; i < weight.products(); ++i)
        levels.push_back(static_cast<float>(weight.level(weight.IndexOf(o, i))));
    }
    for (int64_t i = 0; i < stored_scales.elements(); ++i)
      of_levels.push_back(stored_scales.real(i) / static_cast<float>(weight.format.codes.levels.multiplier));
    const Tensor scales = PerChannel(of_levels, static_cast<int64_t>(shape.size()), 0, dtype);
    Weight& entry = weights_of_[index];
    entry = {torch::tensor(levels).to(dtype).reshape(shape), 1.0 / scales, false, parts_.size()};
    flat.push_back((entry.levels * scales).reshape(-1));
    parts_.push_back({weight.name, offset, weight.elements(), weight.outputs()});
    offset += weight.elements();
  }
  weights_ = torch::cat(flat);
  for (size_t p = 0; p < model.parameters.size(); ++p) {
    const model::Parameter& ones = model.parameters[p];
    if (ones.role == model::Role::kWeight && ones.is_fixed)
      weights_of_[static_cast<int>(p)] = {torch::ones(ones.shape).to(dtype), {}, false, parts_.size()};
  }
  for (const model::Node& node : model.nodes) {
    if (const auto weight = model::WeightOf(node))
      weights_of_.at(*weight).long_sums |= dtype == torch::kFloat && HasLongSums(model, node);
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
      RunNode(node);
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

  Tensor WeightLevels(int index) const {
    const auto& weight = owner_.weights_of_.at(index);
    if (!perturbation_.defined() || weight.part == owner_.parts_.size()) return weight.levels;
    const auto& part = owner_.parts_[weight.part];
    const Tensor shift = perturbation_.narrow(0, part.offset, part.count).reshape(weight.levels.sizes());
    return weight.levels + shift * weight.inverse_scales;
  }

  // Weighted sums of levels; in double where they would not fit a float's 24 bits.
  template <typename Product>
  Tensor Sums(const model::Node& node, Product product) const {
    const int index = *model::WeightOf(node);
    const Tensor input = InputLevels(node), weight = WeightLevels(index);
    if (!owner_.weights_of_.at(index).long_sums) return product(input, weight);
    return product(input.to(torch::kDouble), weight.to(torch::kDouble)).to(dtype_);
  }

  // FATReLU: codes below the threshold become the lowest.
  static Tensor WithCodesBelow(const Tensor& values, double zero_below, double lowest) {
    if (zero_below <= lowest) return values;
    return torch::where(values.detach() < zero_below, torch::full_like(values, lowest), values);
  }

  void Requantize(const model::Node& node, const model::Requantization& r, const Tensor& sums) {
    Tensor product = sums * PerChannel(r.scale, sums.dim(), 1, dtype_);
    if (r.divisor != 1) product = product / r.divisor;
    const Tensor real = product + PerChannel(r.offset, sums.dim(), 1, dtype_);
    if (r.real) {
      logits = real;
      return;
    }
    Output(node) = WithCodesBelow(RoundedStraightThrough(torch::clamp(real, r.lowest, r.highest)) + r.zero_point,
                                  r.zero_below, r.lowest_code());
  }

  Tensor RealLevels(int value) const {
    const model::ActivationCoding& coding = *model_.values[static_cast<size_t>(value)].coding;
    return (codes[static_cast<size_t>(value)] - static_cast<float>(coding.zero_point)) * coding.scale;
  }
  void Quantize(const model::Node& node, const Tensor& reals) {
    QuantizeSteps(node, reals / model_.value(node.output).coding->scale);
  }
  // Of values in steps of the output's scale.
  void QuantizeSteps(const model::Node& node, const Tensor& steps) {
    const model::Quantization q = model::QuantizationOf(*model_.value(node.output).coding, node.activation);
    const Tensor scaled =
        torch::clamp(steps, q.lowest - q.zero_point, q.highest - q.zero_point);  // integers: same clipping
    Output(node) = WithCodesBelow(RoundedStraightThrough(scaled) + q.zero_point, q.zero_below, q.lowest);
  }

  // The values of `exact`, with the derivative of a smooth function that is nearly the same.
  Tensor WithDerivativeOf(const Tensor& smooth, const Tensor& exact) const {
    return exact.to(dtype_) + (smooth - smooth.detach());
  }

  void RunNode(const model::Node& node) {
    if (const auto* convolution = node.operation.As<model::Convolution>()) return Run(node, *convolution);
    if (const auto* linear = node.operation.As<model::Linear>()) return Run(node, *linear);
    if (const auto* pool = node.operation.As<model::MaxPool>()) return Run(node, *pool);
    if (const auto* pool = node.operation.As<model::AveragePool>()) return Run(node, *pool);
    if (node.operation.Is<model::Add>()) return Quantize(node, RealLevels(node.inputs[0]) + RealLevels(node.inputs[1]));
    if (node.operation.Is<model::Concatenate>()) return Join(node);
    if (node.operation.Is<model::Flatten>()) {
      Output(node) = InputCodes(node).flatten(1);
      return;
    }
    if (const auto* moves = node.operation.As<model::Rearrange>()) {
      const Tensor moved = InputCodes(node).flatten(1).index_select(1, torch::tensor(moves->from));
      const model::ValueShape& shape = moves->shape;
      Output(node) = shape.flat ? moved : moved.reshape({moved.size(0), shape.channels, shape.height, shape.width});
      return;
    }
    if (const auto* function = node.operation.As<model::Elementwise>()) return Run(node, *function);
    if (node.operation.Is<model::Multiply>())
      return Quantize(node, RealLevels(node.inputs[0]) * RealLevels(node.inputs[1]));
    if (const auto* product = node.operation.As<model::Product>()) return Run(node, *product);
    if (const auto* softmax = node.operation.As<model::Softmax>()) return Run(node, *softmax);
    if (const auto* normalization = node.operation.As<model::LayerNormalization>()) return Run(node, *normalization);
    if (const auto* constant = node.operation.As<model::Constant>()) {
      const std::vector<float> values(constant->codes.begin(), constant->codes.end());
      const model::ValueShape& shape = constant->shape;
      Output(node) = torch::tensor(values)
                         .to(dtype_)
                         .reshape({1, shape.channels, shape.height, shape.width})
                         .expand({codes[0].size(0), -1, -1, -1});
      return;
    }
    throw InputError(fmt::format(
        "{}: the derivative of {} is not known here, so that sharpness cannot be measured; inject and sweep run it",
        node.name, model::KindOf(node)));
  }
  void Run(const model::Node& node, const model::Convolution& op) {
    const model::Window& w = op.window;
    Requantize(node, model::RequantizationOf(model_, node), Sums(node, [&](const Tensor& input, const Tensor& weight) {
                 const Padded padded(input, w);
                 return torch::conv2d(padded.tensor, weight, {}, {w.stride_h, w.stride_w}, padded.padding,
                                      {w.dilation_h, w.dilation_w}, op.groups);
               }));
  }
  void Run(const model::Node& node, const model::Linear&) {
    Requantize(node, model::RequantizationOf(model_, node),
               Sums(node, [](const Tensor& input, const Tensor& weight) { return torch::linear(input, weight); }));
  }
  void Run(const model::Node& node, const model::MaxPool& op) {
    const model::Window& w = op.window;
    const Padded padded(InputCodes(node), w);
    Output(node) = torch::max_pool2d(padded.tensor, {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w}, padded.padding,
                                     {w.dilation_h, w.dilation_w});
  }
  void Run(const model::Node& node, const model::AveragePool& op) {
    const model::Window& w = op.window;
    const Padded padded(InputLevels(node), w);
    const Tensor means = torch::avg_pool2d(padded.tensor.to(torch::kDouble), {w.kernel_h, w.kernel_w},
                                           {w.stride_h, w.stride_w}, padded.padding);
    Requantize(node, model::RequantizationOfMean(model_, node, op.elements()),
               RoundedStraightThrough(means * static_cast<double>(op.elements())).to(dtype_));
  }
  // The codes of the table, and the derivative of the function where it is not clipped.
  void Run(const model::Node& node, const model::Elementwise& op) {
    const auto table = model::TableOf(model_, node);
    const std::vector<float> levels(table.begin(), table.end());
    const Tensor values =
        torch::tensor(levels).to(dtype_).index({torch::round(InputCodes(node).detach()).to(torch::kLong)});
    const model::Quantization q = model::QuantizationOf(*model_.value(node.output).coding, node.activation);
    const Tensor smooth = torch::clamp(FunctionOf(op, RealLevels(node.input())) / q.scale, q.lowest - q.zero_point,
                                       q.highest - q.zero_point);
    Output(node) = values + (smooth - smooth.detach());
  }
  // [n, channels, positions] as matrices, and back.
  static Tensor Grouped(const Tensor& x, int64_t groups) {
    return x.reshape({x.size(0), groups, x.size(1) / groups, x.size(2) * x.size(3)});
  }
  void Run(const model::Node& node, const model::Product& op) {
    const auto levels = [&](size_t i) {
      const int value = node.inputs[i];
      const auto zero_point = static_cast<float>(model_.value(value).coding->zero_point);
      return Grouped(codes[static_cast<size_t>(value)] - zero_point, op.groups).to(torch::kDouble);  // sums are exact
    };
    const Tensor a = levels(0), b = levels(1);
    const model::ValueShape& shape = model_.value(node.output).shape;
    const Tensor sums = torch::matmul(op.transposed_left ? a.transpose(2, 3) : a, b).to(dtype_);
    Requantize(node, model::RequantizationOfProduct(model_, node, op.factor),
               sums.reshape({sums.size(0), shape.channels, shape.height, shape.width}));
  }
  // The codes are those of the integers; the derivative is that of real numbers.
  void Run(const model::Node& node, const model::Softmax& op) {
    const Tensor& input = InputCodes(node);
    const bool is_flat = input.dim() == 2;
    const Tensor groups = is_flat ? input.unsqueeze(1).unsqueeze(3) : Grouped(input, op.groups);
    const model::ActivationCoding& coding = *model_.value(node.input()).coding;
    const auto table = model::ExponentialsOf(coding);
    const std::vector<int64_t> exponentials(table.begin(), table.end());
    const Tensor rounded = torch::round(groups.detach()).to(torch::kLong);
    const Tensor own = torch::tensor(exponentials).index({std::get<0>(rounded.max(2, true)) - rounded});
    const float scale = model_.value(node.output).coding->scale;
    const Tensor inverse = (1.0 / (own.sum(2, true).to(torch::kDouble) * double{scale})).to(torch::kFloat);
    const Tensor smooth = torch::softmax(groups * coding.scale, 2) / scale;
    QuantizeSteps(node, WithDerivativeOf(smooth, own.to(torch::kFloat) * inverse).reshape(input.sizes()));
  }
  void Run(const model::Node& node, const model::LayerNormalization& op) {
    const Tensor& input = InputCodes(node);
    const model::ActivationCoding& coding = *model_.value(node.input()).coding;
    const int64_t channels = input.size(1);
    const Tensor levels = torch::round(input.detach()).to(torch::kLong) - coding.zero_point;
    const Tensor sum = levels.sum(1, true), squares = levels.square().sum(1, true);
    const Tensor spread = (channels * squares - sum.square()).to(torch::kDouble);
    const float scale = model_.value(node.output).coding->scale;
    const Tensor deviation = torch::sqrt(spread + model::EpsilonOf(op, channels, coding.scale));
    const Tensor inverse = (1.0 / (deviation * double{scale})).to(torch::kFloat);
    const Tensor exact = (channels * levels - sum).to(torch::kFloat) * inverse;
    const Tensor real = RealLevels(node.input());
    const Tensor centered = real - real.mean(1, true);
    const Tensor smooth = centered / torch::sqrt(centered.square().mean(1, true) + op.epsilon) / scale;
    QuantizeSteps(node, WithDerivativeOf(smooth, exact));
  }
  static Tensor FunctionOf(const model::Elementwise& op, const Tensor& x) {
    if (op.function == "LeakyRelu") return torch::where(x < 0, x * op.alpha, x);
    if (op.function == "HardSigmoid") return torch::clamp(x * op.alpha + op.beta, 0, 1);
    if (op.function == "HardSwish") return x * torch::clamp(x / 6.0 + 0.5, 0, 1);
    if (op.function == "Sigmoid") return torch::sigmoid(x);
    if (op.function == "Silu") return torch::silu(x);
    if (op.function == "Tanh") return torch::tanh(x);
    if (op.function == "Gelu" || op.function == "GeluTanh") return torch::gelu(x);
    return x;
  }
  void Join(const model::Node& node) {
    std::vector<Tensor> parts;
    for (int input : node.inputs) parts.push_back(RealLevels(input));
    Quantize(node, torch::cat(parts, 1));
  }

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
