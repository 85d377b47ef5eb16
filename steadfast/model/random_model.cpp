#include "steadfast/model/random_model.h"

#include <fmt/format.h>

#include <cmath>
#include <random>

namespace steadfast::model {
namespace {

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  float Real(float low, float high) {
    return low + (high - low) * static_cast<float>(Between(0, 1 << 20)) / static_cast<float>(1 << 20);
  }

  CodeFormat Format() {
    const int bits = static_cast<int>(Between(1, 8));
    if (bits == 1 || Chance(25)) return FormatWithoutZero(bits);
    return {.bits = bits, .is_signed = true, .narrow = Chance(30)};
  }

  int AddWeight(QuantizedModel& model, const std::string& name, std::vector<int64_t> shape, const CodeFormat& format) {
    WeightTensor weight{.name = name, .shape = std::move(shape), .format = format, .scale = {}, .codes = {}};
    int64_t elements = 1;
    for (int64_t size : weight.shape) elements *= size;
    for (int64_t i = 0; i < elements; ++i) {
      weight.codes.push_back(static_cast<int16_t>(Between(format.lowest_code(), format.highest_code())));
    }
    const int64_t scales = Chance(50) ? 1 : weight.shape[0];
    for (int64_t i = 0; i < scales; ++i) weight.scale.push_back(Real(0.01f, 0.1f));
    model.weights.push_back(std::move(weight));
    return static_cast<int>(model.weights.size()) - 1;
  }

  Affine AffineFor(int64_t channels) {
    Affine affine;
    affine.relu = Chance(80);
    if (Chance(30)) {
      for (int64_t c = 0; c < channels; ++c) affine.multiplier.push_back(Real(-1.5f, 1.5f));
    }
    if (Chance(80)) {
      for (int64_t c = 0; c < channels; ++c) affine.bias.push_back(Real(-1.0f, 1.0f));
    }
    return affine;
  }

  // A step that puts typical sums into the middle of the code range.
  ActivationCoding CodingFor(const QuantizedModel& model, int input, int weight, bool relu) {
    const WeightTensor& tensor = model.weights[static_cast<size_t>(weight)];
    const ActivationCoding& from = *model.values[static_cast<size_t>(input)].coding;
    const double products = static_cast<double>(tensor.codes.size()) / static_cast<double>(tensor.shape[0]);
    const double spread = std::sqrt(products) * from.highest_code() * LargestStoredLevel(tensor.format) / 4;
    ActivationCoding coding;
    coding.bits = static_cast<int>(Between(1, 8));
    coding.scale = static_cast<float>(spread * from.scale * tensor.scale[0] * 2 / coding.highest_code()) + 1e-6f;
    coding.zero_point = !relu && Chance(50) ? coding.highest_code() / 2 : 0;
    if (relu && Chance(20)) coding.zero_below = static_cast<int>(Between(0, coding.highest_code()));
    return coding;
  }

  // A coding whose range is about that of another times `factor`.
  ActivationCoding CodingOfAbout(const ActivationCoding& other, float factor, bool with_zero_point) {
    ActivationCoding coding;
    coding.bits = static_cast<int>(Between(1, 8));
    coding.scale =
        other.scale * factor * static_cast<float>(other.highest_code()) / static_cast<float>(coding.highest_code());
    if (with_zero_point && Chance(50)) coding.zero_point = static_cast<int>(Between(0, coding.highest_code()));
    return coding;
  }

  int AddNode(QuantizedModel& model, const std::string& name, Node node, std::optional<ActivationCoding> coding) {
    node.name = name;
    node.output = static_cast<int>(model.values.size());
    Value value{coding ? name + ".codes" : "logits", OutputShape(model, node), coding};
    model.values.push_back(std::move(value));
    model.nodes.push_back(std::move(node));
    return static_cast<int>(model.values.size()) - 1;
  }

  int AddLinear(QuantizedModel& model, int input, const std::string& name, int64_t outputs, const CodeFormat& format,
                bool last) {
    if (!model.values[static_cast<size_t>(input)].shape.flat) {
      const auto coding = model.values[static_cast<size_t>(input)].coding;
      input = AddNode(model, name + ".flat", {"", Flatten{}, {input}, 0}, coding);
    }
    const int weight = AddWeight(model, name + ".weight",
                                 {outputs, model.values[static_cast<size_t>(input)].shape.elements()}, format);
    Affine affine = AffineFor(outputs);
    if (last) affine.relu = false;
    std::optional<ActivationCoding> coding;
    if (!last) coding = CodingFor(model, input, weight, affine.relu);
    return AddNode(model, name, {"", Linear{weight, affine}, {input}, 0}, coding);
  }

 private:
  std::mt19937_64 random_;
};

Window RandomWindow(Generator& generator, const ValueShape& shape, bool pooling) {
  Window window;
  window.kernel_h = static_cast<int>(generator.Between(1, std::min<int64_t>(5, shape.height)));
  window.kernel_w = static_cast<int>(generator.Between(1, std::min<int64_t>(5, shape.width)));
  if (pooling && generator.Chance(60)) {
    window.kernel_h = std::min<int>(2, window.kernel_h);
    window.kernel_w = std::min<int>(2, window.kernel_w);
    window.stride_h = window.kernel_h;
    window.stride_w = window.kernel_w;
    return window;
  }
  window.stride_h = static_cast<int>(generator.Between(1, 2));
  window.stride_w = static_cast<int>(generator.Between(1, 2));
  window.pad_h = static_cast<int>(generator.Between(0, (window.kernel_h - 1) / 2));
  window.pad_w = static_cast<int>(generator.Between(0, (window.kernel_w - 1) / 2));
  const auto fits = [](int kernel, int64_t size, int pad) { return 2 * (kernel - 1) + 1 <= size + 2 * pad; };
  if (fits(window.kernel_h, shape.height, window.pad_h) && generator.Chance(25)) window.dilation_h = 2;
  if (fits(window.kernel_w, shape.width, window.pad_w) && generator.Chance(25)) window.dilation_w = 2;
  return window;
}

Window GlobalWindow(const ValueShape& shape) {
  Window window;
  window.kernel_h = static_cast<int>(shape.height);
  window.kernel_w = static_cast<int>(shape.width);
  return window;
}

// Of any number of outputs and groups; `outputs` > 0 fixes their number.
int AddConvolution(Generator& generator, QuantizedModel& model, int input, const std::string& name,
                   const Window& window, int64_t outputs = 0) {
  const ValueShape shape = model.values[static_cast<size_t>(input)].shape;
  const bool depthwise = generator.Chance(25) && outputs % shape.channels == 0;
  int64_t groups = depthwise ? shape.channels : 1;
  if (!depthwise && outputs == 0 && shape.channels % 2 == 0 && generator.Chance(25)) groups = 2;
  if (outputs == 0) outputs = generator.Between(1, 3) * (groups > 1 ? groups : generator.Between(1, 4));
  const int weight =
      generator.AddWeight(model, name + ".weight", {outputs, shape.channels / groups, window.kernel_h, window.kernel_w},
                          generator.Format());
  const Affine affine = generator.AffineFor(outputs);
  const ActivationCoding coding = generator.CodingFor(model, input, weight, affine.relu);
  return generator.AddNode(model, name, {"", Convolution{weight, window, static_cast<int>(groups), affine}, {input}, 0},
                           coding);
}

// A convolution that keeps the shape, added to what went into it.
int AddResidual(Generator& generator, QuantizedModel& model, int input, const std::string& name) {
  const ValueShape shape = model.values[static_cast<size_t>(input)].shape;
  Window window;
  const auto side = [&](int64_t size) { return size >= 3 && generator.Chance(70) ? 3 : 1; };
  window.kernel_h = side(shape.height);
  window.kernel_w = side(shape.width);
  window.pad_h = window.kernel_h / 2;
  window.pad_w = window.kernel_w / 2;
  const int branch = AddConvolution(generator, model, input, name + ".branch", window, shape.channels);
  const bool relu = generator.Chance(60);
  std::vector<int> inputs = {input, branch};
  if (generator.Chance(50)) std::swap(inputs[0], inputs[1]);
  const ActivationCoding& larger = *model.values[static_cast<size_t>(branch)].coding;
  return generator.AddNode(model, name, {"", Add{relu}, inputs, 0},
                           generator.CodingOfAbout(larger, generator.Real(0.5f, 2.0f), !relu));
}

// Two or three convolutions of one input, or the input itself, joined.
int AddBranches(Generator& generator, QuantizedModel& model, int input, const std::string& name) {
  std::vector<int> parts;
  const Window window;
  const int64_t count = generator.Between(1, 3);
  for (int64_t i = 0; i < count; ++i)
    parts.push_back(AddConvolution(generator, model, input, fmt::format("{}.part{}", name, i), window));
  if (generator.Chance(40)) parts.push_back(input);
  const ActivationCoding& first = *model.values[static_cast<size_t>(parts[0])].coding;
  const bool same = count == 1 && parts.size() == 1;
  return generator.AddNode(model, name, {"", Concatenate{}, parts, 0},
                           same ? first : generator.CodingOfAbout(first, generator.Real(0.5f, 2.0f), true));
}

Value InputValue(ValueShape shape, float scale, int zero_point) {
  return {"input", shape, ActivationCoding{.bits = 8, .scale = scale, .zero_point = zero_point}};
}

}  // namespace

QuantizedModel RandomModel(uint64_t seed) {
  Generator generator(seed);
  QuantizedModel model;
  model.name = fmt::format("random-{}", seed);
  model.values.push_back(InputValue({generator.Between(1, 5), generator.Between(3, 12), generator.Between(3, 12)},
                                    generator.Real(0.005f, 0.02f), static_cast<int>(generator.Between(0, 255))));
  int current = 0;
  const int64_t hidden = generator.Between(0, 5);
  for (int64_t layer = 0; layer < hidden; ++layer) {
    const ValueShape shape = model.values[static_cast<size_t>(current)].shape;
    const auto coding = model.values[static_cast<size_t>(current)].coding;
    const std::string name = fmt::format("layer{}", layer);
    const int64_t kind = shape.flat ? 14 : generator.Between(1, 14);
    if (kind <= 5) {
      current = AddConvolution(generator, model, current, name, RandomWindow(generator, shape, false));
    } else if (kind <= 7) {
      const Node node{"", MaxPool{RandomWindow(generator, shape, true)}, {current}, 0};
      current = generator.AddNode(model, name, node, coding);
    } else if (kind == 8) {
      Window window = RandomWindow(generator, shape, true);
      if (generator.Chance(30)) window = GlobalWindow(shape);
      window.dilation_h = window.dilation_w = 1;
      current = generator.AddNode(model, name, {"", AveragePool{window}, {current}, 0},
                                  generator.CodingOfAbout(*coding, generator.Real(0.3f, 1.5f), false));
    } else if (kind <= 10) {
      current = AddResidual(generator, model, current, name);
    } else if (kind <= 12) {
      current = AddBranches(generator, model, current, name);
    } else if (kind == 13) {
      current = generator.AddNode(model, name, {"", Flatten{}, {current}, 0}, coding);
    } else {
      current = generator.AddLinear(model, current, name, generator.Between(1, 20), generator.Format(), false);
    }
  }
  model.output = generator.AddLinear(model, current, "last", generator.Between(2, 12), generator.Format(), true);
  return model;
}

std::vector<uint8_t> RandomImages(const QuantizedModel& model, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> images(static_cast<size_t>(n * model.values[0].shape.elements()));
  for (uint8_t& byte : images) byte = static_cast<uint8_t>(random() >> 56);
  return images;
}

QuantizedModel RandomLeNet5(int weight_bits, int activation_bits, uint64_t seed) {
  Generator generator(seed);
  QuantizedModel model;
  model.name = "lenet5";
  model.values.push_back(InputValue({1, 28, 28}, 1 / 90.0f, 73));
  const CodeFormat format{.bits = weight_bits};
  int current = 0;
  const auto coded = [&](int weight) {
    ActivationCoding coding = generator.CodingFor(model, current, weight, true);
    coding.scale *= static_cast<float>(coding.highest_code()) / static_cast<float>((1 << activation_bits) - 1);
    coding.bits = activation_bits;
    coding.zero_below = 0;
    return coding;
  };
  const auto convolution = [&](const std::string& name, int64_t outputs, int pad) {
    const ValueShape shape = model.values[static_cast<size_t>(current)].shape;
    const int weight = generator.AddWeight(model, name + ".weight", {outputs, shape.channels, 5, 5}, format);
    const Window window{.kernel_h = 5, .kernel_w = 5, .pad_h = pad, .pad_w = pad};
    current = generator.AddNode(
        model, name,
        {"",
         Convolution{weight, window, 1, {{}, std::vector<float>(static_cast<size_t>(outputs), 0.1f), true}},
         {current},
         0},
        coded(weight));
    const Window pool{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
    current = generator.AddNode(model, name + ".pool", {"", MaxPool{pool}, {current}, 0},
                                model.values[static_cast<size_t>(current)].coding);
  };
  convolution("conv1", 6, 2);
  convolution("conv2", 16, 0);
  current = generator.AddNode(model, "flatten", {"", Flatten{}, {current}, 0},
                              model.values[static_cast<size_t>(current)].coding);
  for (const auto& [name, outputs] : {std::pair{"fc1", 120}, {"fc2", 84}, {"fc3", 10}}) {
    const bool last = outputs == 10;
    const int64_t inputs = model.values[static_cast<size_t>(current)].shape.elements();
    const int weight = generator.AddWeight(model, std::string(name) + ".weight", {outputs, inputs}, format);
    std::optional<ActivationCoding> coding;
    if (!last) coding = coded(weight);
    current = generator.AddNode(
        model, name,
        {"", Linear{weight, {{}, std::vector<float>(static_cast<size_t>(outputs), 0.1f), !last}}, {current}, 0},
        coding);
  }
  model.output = current;
  return model;
}

QuantizedModel RandomResNet18(int weight_bits, int activation_bits, uint64_t seed) {
  Generator generator(seed);
  QuantizedModel model;
  model.name = "resnet18";
  model.values.push_back(InputValue({3, 32, 32}, 1 / 65.0f, 121));
  const CodeFormat format{.bits = weight_bits};
  const auto convolution = [&](int input, const std::string& name, int64_t outputs, int kernel, int stride, bool relu) {
    const int64_t inputs = model.values[static_cast<size_t>(input)].shape.channels;
    const int weight = generator.AddWeight(model, name + ".weight", {outputs, inputs, kernel, kernel}, format);
    Affine affine{std::vector<float>(static_cast<size_t>(outputs), 0.9f),
                  std::vector<float>(static_cast<size_t>(outputs), 0.1f), relu};
    ActivationCoding coding = generator.CodingFor(model, input, weight, relu);
    coding.scale *= static_cast<float>(coding.highest_code()) / static_cast<float>((1 << activation_bits) - 1);
    coding.bits = activation_bits;
    coding.zero_below = 0;
    coding.zero_point = relu ? 0 : coding.highest_code() / 2;
    const int pad = kernel / 2;
    const Window window{
        .kernel_h = kernel, .kernel_w = kernel, .stride_h = stride, .stride_w = stride, .pad_h = pad, .pad_w = pad};
    return generator.AddNode(model, name, {"", Convolution{weight, window, 1, std::move(affine)}, {input}, 0}, coding);
  };
  int current = convolution(0, "conv1", 64, 3, 1, true);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 2; ++block) {
      const std::string name = fmt::format("layer{}.{}", stage + 1, block);
      const int64_t channels = 64 << stage;
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const int first = convolution(current, name + ".conv1", channels, 3, stride, true);
      const int second = convolution(first, name + ".conv2", channels, 3, 1, false);
      const int shortcut = stride == 1 ? current : convolution(current, name + ".downsample", channels, 1, 2, false);
      ActivationCoding coding = *model.values[static_cast<size_t>(second)].coding;
      coding.zero_point = 0;
      current = generator.AddNode(model, name, {"", Add{true}, {second, shortcut}, 0}, coding);
    }
  }
  const ValueShape& shape = model.values[static_cast<size_t>(current)].shape;
  const Window whole{.kernel_h = static_cast<int>(shape.height), .kernel_w = static_cast<int>(shape.width)};
  current = generator.AddNode(model, "pool", {"", AveragePool{whole}, {current}, 0},
                              model.values[static_cast<size_t>(current)].coding);
  model.output = generator.AddLinear(model, current, "fc", 10, format, true);
  return model;
}

}  // namespace steadfast::model
