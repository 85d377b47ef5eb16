#include "steadfast/network/float_run.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/windows.h"

namespace steadfast::network {
namespace {

#if defined(__x86_64__)
#define STEADFAST_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define STEADFAST_VECTORIZED
#endif

// into[i] += weight * from[i * stride]
STEADFAST_VECTORIZED void AddScaled(const float* from, int64_t stride, float weight, int64_t count, float* into) {
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) into[i] += weight * from[i];
  } else {
    for (int64_t i = 0; i < count; ++i) into[i] += weight * from[i * stride];
  }
}

STEADFAST_VECTORIZED float Dot(const float* a, const float* b, int64_t count) {
  constexpr int64_t kLanes = 16;
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (const float of_lane : sums) sum += of_lane;
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

struct Runner {
  const FloatGraph& graph;
  const FloatNode& node;
  FloatValues& values;

  const std::vector<float>& parameter(int index) const { return graph.parameter(index).values; }
  const std::vector<float>& input(size_t i = 0) const { return values[static_cast<size_t>(node.inputs[i])]; }
  const ValueShape& in(size_t i = 0) const { return graph.value(node.inputs[i]).shape; }
  const ValueShape& out() const { return graph.value(node.output).shape; }
  std::vector<float>& output() const { return values[static_cast<size_t>(node.output)]; }

  void operator()(const Convolution& op) const {
    const Window& w = op.window;
    const int64_t plane = out().height * out().width, group_inputs = in().channels / op.groups;
    const int64_t group_outputs = out().channels / op.groups;
    const float* weight = parameter(op.weight).data();
    for (int64_t o = 0; o < out().channels; ++o) {
      float* to = output().data() + o * plane;
      std::fill_n(to, plane, op.bias < 0 ? 0.0f : parameter(op.bias)[static_cast<size_t>(o)]);
      for (int64_t c = 0; c < group_inputs; ++c) {
        const float* from = input().data() + (o / group_outputs * group_inputs + c) * in().height * in().width;
        for (int64_t ky = 0; ky < w.kernel_h; ++ky) {
          for (int64_t kx = 0; kx < w.kernel_w; ++kx, ++weight) AddTap(w, from, ky, kx, *weight, to);
        }
      }
    }
  }

  // What one weight adds to a plane.
  void AddTap(const Window& w, const float* from, int64_t ky, int64_t kx, float weight, float* to) const {
    const int64_t shift = kx * w.dilation_w - w.pad_left;
    const int64_t first = shift >= 0 ? 0 : (-shift + w.stride_w - 1) / w.stride_w;
    const int64_t last = std::min(out().width, (in().width - shift + w.stride_w - 1) / w.stride_w);
    if (first >= last) return;
    for (int64_t oy = 0; oy < out().height; ++oy) {
      const int64_t y = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
      if (y < 0 || y >= in().height) continue;
      AddScaled(from + y * in().width + first * w.stride_w + shift, w.stride_w, weight, last - first,
                to + oy * out().width + first);
    }
  }

  void operator()(const Linear& op) const {
    const int64_t inputs = in().channels;
    for (int64_t o = 0; o < out().channels; ++o)
      output()[static_cast<size_t>(o)] = Dot(parameter(op.weight).data() + o * inputs, input().data(), inputs) +
                                         (op.bias < 0 ? 0.0f : parameter(op.bias)[static_cast<size_t>(o)]);
  }

  void operator()(const BatchNormalization& op) const {
    const int64_t plane = in().height * in().width;
    for (int64_t c = 0; c < in().channels; ++c) {
      const auto at = static_cast<size_t>(c);
      const double factor = parameter(op.gamma)[at] / std::sqrt(double{parameter(op.variance)[at]} + op.epsilon);
      const double term = parameter(op.beta)[at] - parameter(op.mean)[at] * factor;
      for (int64_t i = c * plane; i < (c + 1) * plane; ++i)
        output()[static_cast<size_t>(i)] = static_cast<float>(input()[static_cast<size_t>(i)] * factor + term);
    }
  }

  void operator()(const Clip& op) const {
    std::transform(input().begin(), input().end(), output().begin(),
                   [&](float x) { return std::min(std::max(x, op.lowest), op.highest); });
  }
  void operator()(const Function& op) const {
    const model::Elementwise function{op.name, op.alpha, op.beta};
    std::transform(input().begin(), input().end(), output().begin(),
                   [&](float x) { return model::FunctionOf(function, x); });
  }
  template <typename Combine>
  void Pool(const Window& window, float start, const Combine& combine) const {
    const int64_t plane = in().height * in().width;
    size_t index = 0;
    for (int64_t c = 0; c < in().channels; ++c) {
      const float* from = input().data() + c * plane;
      model::ForEachWindow(in(), out(), window, [&](const auto& elements) {
        float result = start;
        elements([&](int64_t at) { result = combine(result, from[at]); });
        output()[index++] = result;
      });
    }
  }
  void operator()(const MaxPool& op) const {
    Pool(op.window, -std::numeric_limits<float>::infinity(), [](float a, float b) { return std::max(a, b); });
  }
  void operator()(const AveragePool& op) const {
    Pool(op.window, 0.0f, [](float a, float b) { return a + b; });
    const auto elements = static_cast<float>(op.window.kernel_h * op.window.kernel_w);
    for (float& value : output()) value /= elements;
  }
  void operator()(const Add&) const {
    std::transform(input(0).begin(), input(0).end(), input(1).begin(), output().begin(), std::plus<>());
  }
  void operator()(const Concatenate&) const {
    auto to = output().begin();
    for (size_t i = 0; i < node.inputs.size(); ++i) to = std::copy(input(i).begin(), input(i).end(), to);
  }
  void operator()(const Flatten&) const { output() = input(); }
  void operator()(const Rearrange& op) const {
    for (size_t i = 0; i < op.from.size(); ++i) output()[i] = input()[static_cast<size_t>(op.from[i])];
  }
  void operator()(const Multiply&) const {
    const size_t pixels = input(0).size() / input(1).size();
    for (size_t i = 0; i < output().size(); ++i) output()[i] = input(0)[i] * input(1)[i / pixels];
  }
  void operator()(const Product& op) const {
    const model::ProductSize size = model::SizeOf({op.transposed_left, op.groups, op.factor}, in(0), in(1));
    std::fill(output().begin(), output().end(), 0.0f);
    for (int64_t g = 0; g < op.groups; ++g) {
      const float* left = input(0).data() + g * size.rows * size.inner;
      const float* right = input(1).data() + g * size.inner * size.columns;
      float* to = output().data() + g * size.rows * size.columns;
      for (int64_t m = 0; m < size.rows; ++m) {
        for (int64_t k = 0; k < size.inner; ++k) {
          const float factor = left[op.transposed_left ? k * size.rows + m : m * size.inner + k];
          AddScaled(right + k * size.columns, 1, factor, size.columns, to + m * size.columns);
        }
      }
    }
    for (float& value : output()) value *= op.factor;
  }
  // Of one channel after another, for all positions: [terms][positions].
  void operator()(const Softmax& op) const {
    const int64_t positions = in().height * in().width, terms = in().channels / op.groups;
    for (int64_t g = 0; g < op.groups; ++g) {
      for (int64_t p = 0; p < positions; ++p) {
        const auto at = [&](int64_t i) { return static_cast<size_t>((g * terms + i) * positions + p); };
        float largest = input()[at(0)], sum = 0;
        for (int64_t i = 1; i < terms; ++i) largest = std::max(largest, input()[at(i)]);
        for (int64_t i = 0; i < terms; ++i) sum += output()[at(i)] = std::exp(input()[at(i)] - largest);
        for (int64_t i = 0; i < terms; ++i) output()[at(i)] /= sum;
      }
    }
  }
  void operator()(const LayerNormalization& op) const {
    const int64_t positions = in().height * in().width, channels = in().channels;
    for (int64_t p = 0; p < positions; ++p) {
      const auto at = [&](int64_t c) { return static_cast<size_t>(c * positions + p); };
      double sum = 0, squares = 0;
      for (int64_t c = 0; c < channels; ++c) sum += input()[at(c)];
      const double mean = sum / static_cast<double>(channels);
      for (int64_t c = 0; c < channels; ++c) squares += (input()[at(c)] - mean) * (input()[at(c)] - mean);
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(channels) + op.epsilon);
      for (int64_t c = 0; c < channels; ++c) output()[at(c)] = static_cast<float>((input()[at(c)] - mean) * inverse);
    }
  }
  void operator()(const Positions&) const {
    const int64_t positions = out().channels;
    std::fill(output().begin(), output().end(), 0.0f);
    for (int64_t p = 0; p < positions; ++p) output()[static_cast<size_t>(p * positions + p)] = 1;
  }
};

}  // namespace

void RunFloat(const FloatGraph& graph, FloatValues& values) {
  for (const FloatNode& node : graph.nodes) {
    values[static_cast<size_t>(node.output)].resize(static_cast<size_t>(graph.value(node.output).shape.elements()));
    std::visit(Runner{graph, node, values}, node.operation);
  }
}

std::vector<float> RunFloat(const FloatGraph& graph, std::span<const uint8_t> images, ByteScale scale, int threads,
                            const std::function<void(int, int64_t, const FloatValues&)>& observe,
                            const Cancellation* cancellation) {
  for (const FloatParameter& parameter : graph.parameters) {
    if (static_cast<int64_t>(parameter.values.size()) != parameter.elements())
      throw InputError(graph.name + ": parameter '" + parameter.name +
                       "' has no values yet: the network is not trained");
  }
  const auto pixels = static_cast<size_t>(graph.values[0].shape.elements());
  const auto count = static_cast<int64_t>(images.size() / pixels);
  const auto classes = static_cast<size_t>(graph.classes());
  std::vector<float> logits(static_cast<size_t>(count) * classes);
  if (threads <= 0) threads = AvailableCores();
  std::vector<FloatValues> of_worker(static_cast<size_t>(threads), FloatValues(graph.values.size()));
  ParallelFor(
      threads, count,
      [&](int worker, int64_t image) {
        FloatValues& values = of_worker[static_cast<size_t>(worker)];
        const auto bytes = images.subspan(static_cast<size_t>(image) * pixels, pixels);
        values[0].resize(pixels);
        std::transform(bytes.begin(), bytes.end(), values[0].begin(), [&](uint8_t byte) {
          return scale.scale * static_cast<float>(static_cast<int>(byte) - scale.zero_point);
        });
        RunFloat(graph, values);
        const auto& result = values[static_cast<size_t>(graph.output)];
        std::copy(result.begin(), result.end(), logits.begin() + image * static_cast<int64_t>(classes));
        if (observe) observe(worker, image, values);
      },
      cancellation);
  return logits;
}

}  // namespace steadfast::network
