// Networks of the field in the shapes that they are used in, each described once and built twice: as a quantized model
// with random codes, and in float32 as a LibTorch user writes it.
#pragma once

#include <fmt/format.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"

namespace steadfast::bench {

struct ConvolutionShape {
  int64_t outputs;
  int kernel_h = 3, kernel_w = 3;
  int stride = 1;
  int64_t groups = 1;
  bool relu = true;
};

// What a description of a network is written to. Values are numbered; 0 is the input.
class NetworkBuilder {
 public:
  virtual ~NetworkBuilder() = default;
  virtual model::ValueShape ShapeOf(int value) const = 0;
  virtual int Convolution(int input, const ConvolutionShape& shape) = 0;  // with batch normalization
  virtual int Add(int a, int b, bool relu) = 0;
  virtual int GlobalPool(int input) = 0;
  virtual void Linear(int input, int64_t classes) = 0;
};

// TensorFlow's "same" padding, which is PyTorch's kernel / 2 where the stride is 1.
inline model::Window SameWindow(const model::ValueShape& in, const ConvolutionShape& shape) {
  model::Window window{
      .kernel_h = shape.kernel_h, .kernel_w = shape.kernel_w, .stride_h = shape.stride, .stride_w = shape.stride};
  const auto pad = [&](int64_t size, int kernel, int& before, int& after) {
    const int64_t outputs = (size + shape.stride - 1) / shape.stride;
    const int total = static_cast<int>(std::max<int64_t>(0, (outputs - 1) * shape.stride + kernel - size));
    before = total / 2;
    after = total - total / 2;
  };
  pad(in.height, shape.kernel_h, window.pad_top, window.pad_bottom);
  pad(in.width, shape.kernel_w, window.pad_left, window.pad_right);
  return window;
}

// Random codes for weights; each channel is normalized on some random images, as batch normalization does, so that
// codes differ between images in every layer and a fault finds its way through the network.
class QuantizedBuilder final : public NetworkBuilder {
 public:
  QuantizedBuilder(model::ValueShape input, int weight_bits, int activation_bits)
      : generator_(1), format_{.bits = weight_bits}, highest_code_((1 << activation_bits) - 1), bits_(activation_bits) {
    generator_.model.values.push_back(
        {"input", input, model::ActivationCoding{.bits = 8, .scale = 1 / 65.0f, .zero_point = 121}});
    codes_.push_back(model::RandomImages(generator_.model, kImages, 3));
  }

  model::ValueShape ShapeOf(int value) const override { return generator_.value(value).shape; }

  int Convolution(int input, const ConvolutionShape& shape) override {
    const std::string name = generator_.NextName();
    const model::ValueShape in = ShapeOf(input);
    const int weight = generator_.AddRandomWeights(
        name + ".weight", {shape.outputs, in.channels / shape.groups, shape.kernel_h, shape.kernel_w}, format_);
    model::Convolution convolution{{}, SameWindow(in, shape), static_cast<int>(shape.groups)};
    const model::ValueShape out{shape.outputs, OutputsOf(in.height, convolution.window, true),
                                OutputsOf(in.width, convolution.window, false)};
    const std::vector<int32_t> sums = SumsOf(input, weight, convolution, out);
    std::vector<float> multipliers, biases;
    const model::Parameter& scales = generator_.model.parameter(generator_.model.parameter(weight).scale);
    const double step = double{generator_.value(input).coding->scale} * scales.real(0);
    const int64_t plane = out.height * out.width;
    for (int64_t c = 0; c < out.channels; ++c) {
      double sum = 0, squares = 0;
      for (int64_t image = 0; image < kImages; ++image) {
        for (int64_t i = 0; i < plane; ++i) {
          const double real = step * sums[static_cast<size_t>((image * out.channels + c) * plane + i)];
          sum += real;
          squares += real * real;
        }
      }
      const double count = static_cast<double>(kImages * plane), mean = sum / count;
      const double deviation = std::sqrt(std::max(squares / count - mean * mean, 1e-12));
      multipliers.push_back(static_cast<float>(1 / deviation));
      biases.push_back(static_cast<float>(-mean / deviation));
    }
    convolution.weighted = model::AddAffine(generator_.model, name, weight, multipliers, biases);
    const int value =
        generator_.AddNode(name, {"", std::move(convolution), {input}, 0, model::Activation{.relu = shape.relu}},
                           CodingOf(3.0f, shape.relu));
    const model::Requantization requantization =
        model::RequantizationOf(generator_.model, generator_.model.nodes.back());
    std::vector<uint8_t> codes;
    for (size_t i = 0; i < sums.size(); ++i)
      codes.push_back(model::Requantize(sums[i], requantization, static_cast<int64_t>(i) / plane % out.channels));
    codes_.push_back(std::move(codes));
    return value;
  }

  int Add(int a, int b, bool relu) override {
    const int value = generator_.AddNode(
        generator_.NextName(), {"", model::Add{}, {a, b}, 0, model::Activation{.relu = relu}}, CodingOf(4.5f, relu));
    const model::Quantization quantization = model::QuantizationOf(*generator_.value(value).coding, {.relu = relu});
    std::vector<uint8_t> codes;
    for (size_t i = 0; i < codes_[static_cast<size_t>(a)].size(); ++i) {
      const float x = model::RealOf(codes_[static_cast<size_t>(a)][i], *generator_.value(a).coding);
      const float y = model::RealOf(codes_[static_cast<size_t>(b)][i], *generator_.value(b).coding);
      codes.push_back(model::CodeOf(x + y, quantization));
    }
    codes_.push_back(std::move(codes));
    return value;
  }

  int GlobalPool(int input) override {
    const model::Value from = generator_.value(input);
    const model::Window whole{.kernel_h = static_cast<int>(from.shape.height),
                              .kernel_w = static_cast<int>(from.shape.width)};
    model::ActivationCoding coding = *from.coding;
    coding.scale /= 2;  // means are smaller
    return generator_.AddNode(generator_.NextName(), {"", model::AveragePool{whole}, {input}, 0}, coding);
  }

  void Linear(int input, int64_t classes) override {
    generator_.model.output = generator_.AddLinear(input, "fc", classes, format_, true);
  }

  model::QuantizedModel Take() { return std::move(generator_.model); }

 private:
  static constexpr int64_t kImages = 8;

  // Codes up to `largest`, or from its negative on.
  model::ActivationCoding CodingOf(float largest, bool relu) const {
    model::ActivationCoding coding{.bits = bits_};
    coding.scale = (relu ? largest : 2 * largest) / static_cast<float>(highest_code_);
    coding.zero_point = relu ? 0 : highest_code_ / 2;
    return coding;
  }

  static int64_t OutputsOf(int64_t size, const model::Window& w, bool rows) {
    return rows ? (size + w.pad_top + w.pad_bottom - w.kernel_h) / w.stride_h + 1
                : (size + w.pad_left + w.pad_right - w.kernel_w) / w.stride_w + 1;
  }

  // [image][output][y][x]
  std::vector<int32_t> SumsOf(int input, int weight, const model::Convolution& convolution,
                              const model::ValueShape& out) const {
    const model::Parameter& levels = generator_.model.parameter(weight);
    const model::ValueShape in = ShapeOf(input);
    const int zero_point = generator_.value(input).coding->zero_point;
    const model::Window& w = convolution.window;
    const int64_t per_group = in.channels / convolution.groups, outputs_of_group = out.channels / convolution.groups;
    std::vector<int32_t> sums(static_cast<size_t>(kImages * out.elements()), 0);
    for (int64_t image = 0; image < kImages; ++image) {
      const uint8_t* codes = codes_[static_cast<size_t>(input)].data() + image * in.elements();
      for (int64_t o = 0; o < out.channels; ++o) {
        int32_t* to = sums.data() + (image * out.channels + o) * out.height * out.width;
        for (int64_t c = 0; c < per_group; ++c) {
          const uint8_t* plane = codes + (o / outputs_of_group * per_group + c) * in.height * in.width;
          for (int64_t k = 0; k < w.kernel_h * w.kernel_w; ++k) {
            const int level = levels.level((o * per_group + c) * w.kernel_h * w.kernel_w + k);
            for (int64_t y = 0; y < out.height; ++y) {
              const int64_t from_y = y * w.stride_h - w.pad_top + k / w.kernel_w;
              if (from_y < 0 || from_y >= in.height) continue;
              for (int64_t x = 0; x < out.width; ++x) {
                const int64_t from_x = x * w.stride_w - w.pad_left + k % w.kernel_w;
                if (from_x >= 0 && from_x < in.width)
                  to[y * out.width + x] += level * (plane[from_y * in.width + from_x] - zero_point);
              }
            }
          }
        }
      }
    }
    return sums;
  }

  model::RandomGraph generator_;
  model::CodeFormat format_;
  int highest_code_, bits_;
  std::vector<std::vector<uint8_t>> codes_;  // [value]: of some images
};

// Channels last, batch normalization beside each convolution, ready for inference.
class LibTorchBuilder final : public NetworkBuilder {
 public:
  explicit LibTorchBuilder(model::ValueShape input) : shapes_{input} {}

  model::ValueShape ShapeOf(int value) const override { return shapes_[static_cast<size_t>(value)]; }

  int Convolution(int input, const ConvolutionShape& shape) override {
    using namespace torch::nn;
    const model::ValueShape in = ShapeOf(input);
    const model::Window w = SameWindow(in, shape);
    const bool alike = w.pad_top == w.pad_bottom && w.pad_left == w.pad_right;
    Conv2d convolution(
        Conv2dOptions(in.channels, shape.outputs, {shape.kernel_h, shape.kernel_w})
            .stride(shape.stride)
            .padding(alike ? torch::ExpandingArray<2>({w.pad_top, w.pad_left}) : torch::ExpandingArray<2>({0, 0}))
            .groups(shape.groups)
            .bias(false));
    auto& weight = convolution->weight;
    weight.set_data(weight.contiguous(torch::MemoryFormat::ChannelsLast));
    BatchNorm2d normalization(shape.outputs);
    normalization->eval();
    const model::ValueShape out{shape.outputs,
                                (in.height + w.pad_top + w.pad_bottom - shape.kernel_h) / shape.stride + 1,
                                (in.width + w.pad_left + w.pad_right - shape.kernel_w) / shape.stride + 1};
    return Push(out, [=](const std::vector<torch::Tensor>& values) mutable {
      torch::Tensor x = values[static_cast<size_t>(input)];
      if (!alike) x = torch::constant_pad_nd(x, {w.pad_left, w.pad_right, w.pad_top, w.pad_bottom}, 0);
      x = normalization->forward(convolution->forward(x));
      return shape.relu ? torch::relu_(x) : x;
    });
  }

  int Add(int a, int b, bool relu) override {
    return Push(ShapeOf(a), [=](const std::vector<torch::Tensor>& values) {
      const torch::Tensor sum = values[static_cast<size_t>(a)] + values[static_cast<size_t>(b)];
      return relu ? torch::relu(sum) : sum;
    });
  }

  int GlobalPool(int input) override {
    return Push({ShapeOf(input).channels, 1, 1}, [=](const std::vector<torch::Tensor>& values) {
      return torch::adaptive_avg_pool2d(values[static_cast<size_t>(input)], {1, 1});
    });
  }

  void Linear(int input, int64_t classes) override {
    torch::nn::Linear linear(ShapeOf(input).elements(), classes);
    Push({classes, 1, 1}, [=](const std::vector<torch::Tensor>& values) mutable {
      return linear->forward(values[static_cast<size_t>(input)].flatten(1));
    });
  }

  // images: [n, c, h, w], channels last.
  torch::Tensor Run(const torch::Tensor& images) const {
    std::vector<torch::Tensor> values = {images};
    for (const auto& step : steps_) values.push_back(step(values));
    return values.back();
  }

 private:
  using Step = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;
  int Push(model::ValueShape shape, Step step) {
    shapes_.push_back(shape);
    steps_.push_back(std::move(step));
    return static_cast<int>(steps_.size());
  }

  std::vector<model::ValueShape> shapes_;
  std::vector<Step> steps_;
};

// He et al., 2016: three stages of `blocks` basic blocks, 16 to 64 channels, projections where the shape changes.
inline void CifarResNet(NetworkBuilder& network, int blocks) {
  int current = network.Convolution(0, {.outputs = 16});
  for (int stage = 0; stage < 3; ++stage) {
    for (int block = 0; block < blocks; ++block) {
      const int64_t channels = 16 << stage;
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const int first = network.Convolution(current, {.outputs = channels, .stride = stride});
      const int second = network.Convolution(first, {.outputs = channels, .relu = false});
      const int shortcut =
          stride == 1
              ? current
              : network.Convolution(
                    current, {.outputs = channels, .kernel_h = 1, .kernel_w = 1, .stride = stride, .relu = false});
      current = network.Add(second, shortcut, true);
    }
  }
  network.Linear(network.GlobalPool(current), 10);
}

// Sandler et al., 2018, for 32 x 32 images: strides of 1 in the first layer and the first two stages.
inline void MobileNetV2(NetworkBuilder& network) {
  struct Stage {
    int64_t expansion, channels;
    int repeats, stride;
  };
  int current = network.Convolution(0, {.outputs = 32});
  for (const Stage& stage : {Stage{1, 16, 1, 1}, Stage{6, 24, 2, 1}, Stage{6, 32, 3, 2}, Stage{6, 64, 4, 2},
                             Stage{6, 96, 3, 1}, Stage{6, 160, 3, 2}, Stage{6, 320, 1, 1}}) {
    for (int repeat = 0; repeat < stage.repeats; ++repeat) {
      const int64_t inputs = network.ShapeOf(current).channels, hidden = inputs * stage.expansion;
      const int stride = repeat == 0 ? stage.stride : 1;
      int inside = current;
      if (stage.expansion > 1) inside = network.Convolution(inside, {.outputs = hidden, .kernel_h = 1, .kernel_w = 1});
      inside = network.Convolution(inside, {.outputs = hidden, .stride = stride, .groups = hidden});
      inside = network.Convolution(inside, {.outputs = stage.channels, .kernel_h = 1, .kernel_w = 1, .relu = false});
      current = stride == 1 && inputs == stage.channels ? network.Add(inside, current, false) : inside;
    }
  }
  current = network.Convolution(current, {.outputs = 1280, .kernel_h = 1, .kernel_w = 1});
  network.Linear(network.GlobalPool(current), 10);
}

// The keyword spotter of MLPerf Tiny (Banbury et al., 2021), on 49 x 10 features.
inline void DsCnn(NetworkBuilder& network) {
  int current = network.Convolution(0, {.outputs = 64, .kernel_h = 10, .kernel_w = 4, .stride = 2});
  for (int block = 0; block < 4; ++block) {
    current = network.Convolution(current, {.outputs = 64, .groups = 64});
    current = network.Convolution(current, {.outputs = 64, .kernel_h = 1, .kernel_w = 1});
  }
  network.Linear(network.GlobalPool(current), 12);
}

}  // namespace steadfast::bench
