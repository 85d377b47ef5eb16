#include "steadfast/train/quantizers.h"

#include <algorithm>
#include <cmath>

#include "steadfast/train/fused_quantization.h"

namespace steadfast::train {
namespace {

using recipe::Quantizer;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// The step as the loops use it: SAQ's perturbation may push a step below zero for one pass.
float StepOf(const Tensor& step) {
  return std::max(step.item<float>(), kSmallestStep);
}

Tensor ScalarLike(const Tensor& like, double value) {
  return torch::full_like(like, value);
}

// Loops over elements take them in any order, the same for all tensors: that of x, channels first or last.
Tensor WithoutGaps(const Tensor& x) {
  return x.is_non_overlapping_and_dense() ? x : x.contiguous();
}
Tensor InOrderOf(const Tensor& x, const Tensor& other) {
  return other.strides() == x.strides() ? other : torch::empty_like(x).copy_(other);
}

// The fused loops are for floats in this machine's memory; everything else takes LibTorch's operations.
bool IsFused(const Tensor& x) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat;
}

Tensor RoundStraightThrough(const Tensor& x);

// The number itself, with a gradient that is scaled.
Tensor WithScaledGradient(const Tensor& x, double scale) {
  return x.detach() * (1 - scale) + x * scale;
}

// step * round(clip(x / step)), straight through, by operations of LibTorch: the same to rounding. A step below the
// smallest has the smallest's value, and its gradient.
Tensor QuantizedByOperations(const Tensor& x, const Tensor& step, double lowest, double highest,
                             double gradient_scale) {
  const Tensor scaled = WithScaledGradient(step, gradient_scale);
  const Tensor positive = scaled + (torch::clamp_min(scaled, kSmallestStep) - scaled).detach();
  return positive * RoundStraightThrough(torch::clamp(x / positive, lowest, highest));
}

class LsqFunction : public Function<LsqFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x_in, const Tensor& step, double lowest, double highest,
                        double gradient_scale) {
    const Tensor x = WithoutGaps(x_in);
    Tensor out = torch::empty_like(x);
    const CodeRange range{static_cast<float>(lowest), static_cast<float>(highest)};
    QuantizeForward(x.data_ptr<float>(), out.data_ptr<float>(), x.numel(), StepOf(step), range);
    context->save_for_backward({x, step});
    context->saved_data["lowest"] = lowest;
    context->saved_data["highest"] = highest;
    context->saved_data["gradient_scale"] = gradient_scale;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &step = saved[1];
    const Tensor grad = InOrderOf(x, grads[0]);
    Tensor grad_x = torch::empty_like(x);
    const CodeRange range{static_cast<float>(context->saved_data["lowest"].toDouble()),
                          static_cast<float>(context->saved_data["highest"].toDouble())};
    const double step_gradient = QuantizeBackward(x.data_ptr<float>(), grad.data_ptr<float>(), grad_x.data_ptr<float>(),
                                                  x.numel(), StepOf(step), range);
    const double scale = context->saved_data["gradient_scale"].toDouble();
    return {grad_x, ScalarLike(step, step_gradient * scale), Tensor(), Tensor(), Tensor()};
  }
};

class LsqActivationFunction : public Function<LsqActivationFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& x_in, const Tensor& step, double highest,
                               double gradient_scale, bool after_quantizer) {
    const Tensor x = WithoutGaps(x_in);
    Tensor out = torch::empty_like(x);
    QuantizeForward(x.data_ptr<float>(), out.data_ptr<float>(), x.numel(), StepOf(step),
                    {0.0f, static_cast<float>(highest)});
    const PositiveSums sums = SumPositive(after_quantizer ? out.data_ptr<float>() : x.data_ptr<float>(), x.numel());
    context->save_for_backward({x, step});
    context->saved_data["highest"] = highest;
    context->saved_data["gradient_scale"] = gradient_scale;
    context->saved_data["after_quantizer"] = after_quantizer;
    return {out, torch::full({}, sums.sum, x.options()), torch::full({}, sums.squares, x.options())};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &step = saved[1];
    const bool after_quantizer = context->saved_data["after_quantizer"].toBool();
    const CodeRange range{0.0f, static_cast<float>(context->saved_data["highest"].toDouble())};
    const float linear = grads[1].defined() ? grads[1].item<float>() : 0.0f;
    const float quadratic = grads[2].defined() ? 2.0f * grads[2].item<float>() : 0.0f;
    Tensor grad = InOrderOf(x, grads[0]);
    Tensor grad_x = torch::empty_like(x);
    const int64_t n = x.numel();
    double step_gradient = 0;
    if (after_quantizer) {
      Tensor quantized = torch::empty_like(x);
      QuantizeForward(x.data_ptr<float>(), quantized.data_ptr<float>(), n, StepOf(step), range);
      grad = grad + (quantized > 0).to(torch::kFloat) * (linear + quadratic * quantized);
      step_gradient = QuantizeBackward(x.data_ptr<float>(), grad.data_ptr<float>(), grad_x.data_ptr<float>(), n,
                                       StepOf(step), range);
    } else {
      step_gradient = QuantizeBackwardWithPenalty(x.data_ptr<float>(), grad.data_ptr<float>(), grad_x.data_ptr<float>(),
                                                  n, StepOf(step), range, linear, quadratic);
    }
    const double scale = context->saved_data["gradient_scale"].toDouble();
    return {grad_x, ScalarLike(step, step_gradient * scale), Tensor(), Tensor(), Tensor()};
  }
};

// round(x), gradient as if it were x.
Tensor RoundStraightThrough(const Tensor& x) {
  return x + (torch::round(x) - x).detach();
}

// LIQ's position in [-1, 1].
Tensor LiqNormalized(const Tensor& weight, const Tensor& clip, bool normalize) {
  Tensor w = weight;
  if (normalize) {
    const Tensor mean = weight.mean().detach();
    const Tensor deviation = weight.std(/*unbiased=*/true).detach();
    w = (weight - mean) / deviation;
  }
  return torch::clamp(w / torch::clamp_min(clip, kSmallestStep), -1.0, 1.0);
}

Tensor DoReFaPosition(const Tensor& weight) {  // in [0, 1]
  const Tensor t = torch::tanh(weight);
  return t / (2.0 * t.abs().max().detach()) + 0.5;
}

}  // namespace

Tensor LsqQuantize(const Tensor& x, const Tensor& step, int lowest, int highest, double gradient_scale) {
  if (!IsFused(x)) return QuantizedByOperations(x, step, lowest, highest, gradient_scale);
  return LsqFunction::apply(x, step, static_cast<double>(lowest), static_cast<double>(highest), gradient_scale);
}

QuantizedActivations LsqQuantizeActivations(const Tensor& x, const Tensor& step, int highest, double gradient_scale,
                                            bool with_sums, bool after_quantizer) {
  if (!with_sums) return {LsqQuantize(x, step, 0, highest, gradient_scale), {}, {}};
  if (!IsFused(x)) {
    const Tensor quantized = QuantizedByOperations(x, step, 0, highest, gradient_scale);
    const Tensor of = torch::relu(after_quantizer ? quantized : x);
    return {quantized, of.sum(), of.square().sum()};
  }
  auto outputs = LsqActivationFunction::apply(x, step, static_cast<double>(highest), gradient_scale, after_quantizer);
  return {outputs[0], outputs[1], outputs[2]};
}

double InitialStep(const Tensor& x, int highest) {
  return std::max<double>(2.0 * x.abs().mean().item<double>() / std::sqrt(static_cast<double>(highest)), kSmallestStep);
}

model::CodeFormat WeightQuantizer::format() const {
  if (kind == Quantizer::kLsq) return {.bits = bits, .is_signed = true, .narrow = narrow, .levels = {}};
  return model::FormatWithoutZero(bits);
}

double WeightQuantizer::initial_step(const Tensor& weight) const {
  if (kind == Quantizer::kLsq) return InitialStep(weight, format().highest_code());
  // LIQ's published starts: 1 for normalized convolutions, 0.8 of the largest weight otherwise.
  return normalize ? 1.0 : std::max<double>(0.8 * weight.abs().max().item<double>(), kSmallestStep);
}

Tensor WeightQuantizer::operator()(const Tensor& weight, const Tensor& step) const {
  const int n = (1 << bits) - 1;
  switch (kind) {
    case Quantizer::kFloat:
      return weight;
    case Quantizer::kLsq: {
      const model::CodeFormat f = format();
      const double scale = 1.0 / std::sqrt(static_cast<double>(weight.numel()) * f.highest_code());
      return LsqQuantize(weight, step, f.lowest_code(), f.highest_code(), scale);
    }
    case Quantizer::kLiq: {
      const Tensor x = LiqNormalized(weight, step, normalize);
      return torch::clamp_min(step, kSmallestStep) * (2.0 * RoundStraightThrough(n * (x + 1.0) / 2.0) / n - 1.0);
    }
    case Quantizer::kDoReFa: {
      if (bits == 1) {
        const Tensor mean = weight.abs().mean().detach();
        const Tensor sign = torch::where(weight >= 0, torch::ones_like(weight), -torch::ones_like(weight));
        return weight + (sign * mean - weight).detach();
      }
      return 2.0 * RoundStraightThrough(n * DoReFaPosition(weight)) / n - 1.0;
    }
  }
  return weight;
}

WeightQuantizer::Stored WeightQuantizer::store(const Tensor& weight, const Tensor& step) const {
  const torch::NoGradGuard no_gradients;
  const int n = (1 << bits) - 1;
  Tensor codes;
  double scale = 1.0;
  switch (kind) {
    case Quantizer::kFloat:
      TORCH_CHECK(false, "float weights have no codes");
    case Quantizer::kLsq: {
      const model::CodeFormat f = format();
      scale = StepOf(step);
      codes = torch::round(torch::clamp(weight * (1.0f / StepOf(step)), f.lowest_code(), f.highest_code()));
      break;
    }
    case Quantizer::kLiq: {
      scale = StepOf(step) / static_cast<float>(n);
      codes = torch::round(n * (LiqNormalized(weight, step, normalize) + 1.0) / 2.0);
      break;
    }
    case Quantizer::kDoReFa: {
      if (bits == 1) {
        scale = weight.abs().mean().item<float>();
        codes = (weight >= 0).to(torch::kFloat);
      } else {
        scale = 1.0 / n;
        codes = torch::round(n * DoReFaPosition(weight));
      }
      break;
    }
  }
  const Tensor flat = codes.to(torch::kShort).to(torch::kCPU).contiguous();
  const int16_t* data = flat.data_ptr<int16_t>();
  return {{data, data + flat.numel()}, static_cast<float>(scale)};
}

}  // namespace steadfast::train
