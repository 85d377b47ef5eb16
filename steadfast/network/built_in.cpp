#include "steadfast/network/built_in.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"

namespace steadfast::network {
namespace {

struct Shape {
  ValueShape input;
  int classes;
  double width = 1;
  int patch = 4, depth = 6, channels = 64, heads = 4;  // of vit
  bool class_token = false, relu = false;              // of vit; without: GELU
  bool preactivation = false;                          // of resnet20
};

// LeNet-5 (LeCun et al., Gradient-based learning applied to document recognition, 1998) as it is used today: ReLU,
// max-pooling, a linear last layer. 28 x 28 images are padded by 2, which the original did to its 32 x 32 input.
FloatGraph LeNet5(const Shape& s) {
  if (s.input.height != s.input.width || (s.input.height != 28 && s.input.height != 32)) {
    throw UsageError(
        fmt::format("lenet5 takes images of 28 x 28 or 32 x 32, and these are {} x {}", s.input.height, s.input.width));
  }
  GraphBuilder b("lenet5", s.input);
  int x = 0;
  const auto layer = [&](const std::string& name, int64_t outputs, int padding) {
    x = b.Relu(b.Convolve(x, name, outputs, Square(5, 1, padding), 1, true), name + ".relu");
  };
  layer("conv1", 6, s.input.height == 28 ? 2 : 0);
  x = b.AddNode("pool1", MaxPool{Square(2, 2)}, {x});
  layer("conv2", 16, 0);
  x = b.AddNode("pool2", MaxPool{Square(2, 2)}, {x});
  x = b.AddNode("flatten", Flatten{}, {x});
  x = b.Relu(b.Connect(x, "fc1", 120), "fc1.relu");
  x = b.Relu(b.Connect(x, "fc2", 84), "fc2.relu");
  b.Connect(x, "fc3", s.classes);
  return b.graph_;
}

// A perceptron with two hidden layers (Rumelhart, Hinton, Williams, Learning representations by back-propagating
// errors, 1986; 256 neurons each, ours).
FloatGraph Mlp(const Shape& s) {
  GraphBuilder b("mlp", s.input);
  int x = b.Relu(b.Connect(0, "fc1", 256), "fc1.relu");
  x = b.Relu(b.Connect(x, "fc2", 256), "fc2.relu");
  b.Connect(x, "fc3", s.classes);
  return b.graph_;
}

int ConvolveAndNormalize(GraphBuilder& b, int input, const std::string& name, int64_t outputs, const Window& window,
                         int64_t groups = 1) {
  return b.Normalize(b.Convolve(input, name, outputs, window, groups), name + ".bn");
}

// VGG-11 (Simonyan and Zisserman, 2015) in its CIFAR form: batch normalization behind each convolution, one linear
// layer.
FloatGraph Vgg11(const Shape& s) {
  GraphBuilder b("vgg11", s.input);
  int x = 0, number = 0, pools = 0;
  for (const int outputs : {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0}) {
    if (outputs == 0) {
      if (b.shape(x).height < 2 || b.shape(x).width < 2)
        throw UsageError("vgg11 halves its images five times: they must have at least 32 x 32 pixels");
      x = b.AddNode(fmt::format("pool{}", ++pools), MaxPool{Square(2, 2)}, {x});
      continue;
    }
    const std::string name = fmt::format("conv{}", ++number);
    x = b.Relu(ConvolveAndNormalize(b, x, name, outputs, Square(3, 1, 1)), name + ".relu");
  }
  b.Connect(x, "fc", s.classes);
  return b.graph_;
}

struct Residual {
  std::string name;
  int64_t outputs;
  int stride;
};

// Two 3 x 3 convolutions and a shortcut: the identity, or a 1 x 1 convolution where the shape changes (option B).
int ResidualBlock(GraphBuilder& b, int input, const Residual& r) {
  const auto name = [&](const char* part) { return r.name + "." + part; };
  int x = b.Relu(ConvolveAndNormalize(b, input, name("conv1"), r.outputs, Square(3, r.stride, 1)), name("relu1"));
  x = ConvolveAndNormalize(b, x, name("conv2"), r.outputs, Square(3, 1, 1));
  int shortcut = input;
  if (r.stride != 1 || b.shape(input).channels != r.outputs)
    shortcut = ConvolveAndNormalize(b, input, name("shortcut"), r.outputs, Square(1, r.stride));
  return b.Relu(b.AddNode(name("add"), Add{}, {x, shortcut}), name("relu2"));
}

FloatGraph ResNet(const Shape& s, const std::string& title, const std::vector<int64_t>& channels, int blocks) {
  GraphBuilder b(title, s.input);
  int x = b.Relu(ConvolveAndNormalize(b, 0, "conv1", channels[0], Square(3, 1, 1)), "relu1");
  for (size_t stage = 0; stage < channels.size(); ++stage) {
    for (int block = 0; block < blocks; ++block) {
      x = ResidualBlock(
          b, x,
          {fmt::format("stage{}.block{}", stage + 1, block + 1), channels[stage], stage > 0 && block == 0 ? 2 : 1});
    }
  }
  b.Connect(b.AveragePoolAll(x, "pool"), "fc", s.classes);
  return b.graph_;
}

// The image classification network of MLPerf Tiny (Banbury et al., 2021): three residual blocks.
FloatGraph ResNet8(const Shape& s) {
  return ResNet(s, "resnet8", {16, 32, 64}, 1);
}
// He et al., Identity mappings in deep residual networks, 2016: normalization and ReLU stand in front of each
// convolution, and nothing behind the addition. Where the shape changes, the shortcut takes what the first ReLU gives.
FloatGraph PreactivationResNet20(const Shape& s) {
  GraphBuilder b("resnet20:preact", s.input);
  int x = b.Convolve(0, "conv1", 16, Square(3, 1, 1));
  for (int stage = 1; stage <= 3; ++stage) {
    for (int block = 1; block <= 3; ++block) {
      const auto name = [&](const char* part) { return fmt::format("stage{}.block{}.{}", stage, block, part); };
      const int64_t channels = int64_t{8} << stage;
      const bool changes = stage > 1 && block == 1;
      const int y = b.Relu(b.Normalize(x, name("bn1")), name("relu1"));
      const int inner = b.Convolve(y, name("conv1"), channels, Square(3, changes ? 2 : 1, 1));
      const int outer = b.Convolve(b.Relu(b.Normalize(inner, name("conv1.bn")), name("relu2")), name("conv2"), channels,
                                   Square(3, 1, 1));
      const int shortcut = changes ? b.Convolve(y, name("shortcut"), channels, Square(1, 2)) : x;
      x = b.AddNode(name("add"), Add{}, {outer, shortcut});
    }
  }
  b.Connect(b.AveragePoolAll(b.Relu(b.Normalize(x, "bn"), "relu"), "pool"), "fc", s.classes);
  return b.graph_;
}

// He et al., Deep residual learning for image recognition, 2016, section 4.2; option B shortcuts.
FloatGraph ResNet20(const Shape& s) {
  if (s.preactivation) return PreactivationResNet20(s);
  return ResNet(s, "resnet20", {16, 32, 64}, 3);
}
// He et al., 2016, with the 3 x 3 stem that CIFAR's small images need.
FloatGraph ResNet18(const Shape& s) {
  return ResNet(s, "resnet18", {64, 128, 256, 512}, 2);
}

// Sandler et al., MobileNetV2: Inverted residuals and linear bottlenecks, 2018; CIFAR form: strides 1 in the stem and
// in the first stages, so that 32 x 32 images end as 4 x 4.
FloatGraph MobileNetV2(const Shape& s) {
  const auto wide = [&](int64_t channels) {  // to a multiple of 8, not below nine tenths, as published
    const double scaled = static_cast<double>(channels) * s.width;
    auto rounded = std::max<int64_t>(8, (static_cast<int64_t>(scaled) + 4) / 8 * 8);
    if (static_cast<double>(rounded) < 0.9 * scaled) rounded += 8;
    return rounded;
  };
  GraphBuilder b("mobilenetv2", s.input);
  const auto relu6 = [&](int x, const std::string& name) { return b.AddNode(name, Clip{0, 6}, {x}); };
  int x = relu6(ConvolveAndNormalize(b, 0, "stem", wide(32), Square(3, 1, 1)), "stem.relu6");
  struct Stage {
    int expansion;
    int64_t channels;
    int blocks, stride;
  };
  int number = 0;
  for (const Stage& stage : {Stage{1, 16, 1, 1}, Stage{6, 24, 2, 1}, Stage{6, 32, 3, 2}, Stage{6, 64, 4, 2},
                             Stage{6, 96, 3, 1}, Stage{6, 160, 3, 2}, Stage{6, 320, 1, 1}}) {
    for (int block = 0; block < stage.blocks; ++block) {
      const std::string name = fmt::format("block{}", ++number);
      const int64_t inside = b.shape(x).channels * stage.expansion;
      const int stride = block == 0 ? stage.stride : 1, before = x;
      if (stage.expansion > 1)
        x = relu6(ConvolveAndNormalize(b, x, name + ".expand", inside, Square(1)), name + ".relu6a");
      x = relu6(ConvolveAndNormalize(b, x, name + ".depthwise", inside, Square(3, stride, 1), inside),
                name + ".relu6b");
      x = ConvolveAndNormalize(b, x, name + ".project", wide(stage.channels), Square(1));
      if (stride == 1 && b.shape(before).channels == b.shape(x).channels)
        x = b.AddNode(name + ".add", Add{}, {before, x});
    }
  }
  x = relu6(ConvolveAndNormalize(b, x, "head", std::max<int64_t>(1280, wide(1280)), Square(1)), "head.relu6");
  b.Connect(b.AveragePoolAll(x, "pool"), "fc", s.classes);
  return b.graph_;
}

// Keyword spotting of MLPerf Tiny (Banbury et al., 2021), after Zhang et al., Hello Edge, 2017: a convolution, then
// four depthwise separable ones. Its input is 49 x 10 spectral features.
FloatGraph DsCnn(const Shape& s) {
  GraphBuilder b("dscnn", s.input);
  Window first{.kernel_h = 10, .kernel_w = 4, .stride_h = 2, .stride_w = 2};
  const auto same = [](int64_t size, int kernel, int stride) {
    return static_cast<int>(std::max<int64_t>(0, ((size + stride - 1) / stride - 1) * stride + kernel - size));
  };
  const int rows = same(s.input.height, 10, 2), columns = same(s.input.width, 4, 2);
  first.pad_top = rows / 2;
  first.pad_bottom = rows - rows / 2;
  first.pad_left = columns / 2;
  first.pad_right = columns - columns / 2;
  int x = b.Relu(ConvolveAndNormalize(b, 0, "conv1", 64, first), "relu1");
  for (int block = 1; block <= 4; ++block) {
    const std::string name = fmt::format("block{}", block);
    x = b.Relu(ConvolveAndNormalize(b, x, name + ".depthwise", 64, Square(3, 1, 1), 64), name + ".relu1");
    x = b.Relu(ConvolveAndNormalize(b, x, name + ".pointwise", 64, Square(1)), name + ".relu2");
  }
  b.Connect(b.AveragePoolAll(x, "pool"), "fc", s.classes);
  return b.graph_;
}

Rearrange Picked(const ValueShape& shape, const std::function<int32_t(int32_t)>& from) {
  Rearrange op{shape, {}};
  for (int32_t i = 0; i < static_cast<int32_t>(shape.elements()); ++i) op.from.push_back(from(i));
  return op;
}

// A token that is the same for all images, in front of the others. Tokens are joined as channels, and put back.
int WithClassToken(GraphBuilder& b, int patches) {
  const auto channels = static_cast<int32_t>(b.shape(patches).channels);
  const auto count = static_cast<int32_t>(b.shape(patches).elements()) / channels;
  const int own = b.AddNode("class_token.turned", Picked({1, 1, channels}, [](int32_t c) { return c; }),
                            {b.Embed("class_token", channels, 1, 1)});
  const int others = b.AddNode(
      "patches.turned", Picked({count, 1, channels}, [=](int32_t i) { return i % channels * count + i / channels; }),
      {patches});
  const int joined = b.AddNode("joined", Concatenate{}, {own, others});
  return b.AddNode(
      "tokens",
      Picked({channels, 1, count + 1}, [=](int32_t i) { return i % (count + 1) * channels + i / (count + 1); }),
      {joined});
}

// A small vision transformer (Dosovitskiy et al., An image is worth 16 x 16 words, 2021): patches as tokens, an
// embedding of their positions, blocks of attention and of a perceptron twice as wide, normalized first, GELU (or ReLU,
// which has zeros to be sparse with), a mean of all tokens, or a token of its own for the class. Tokens are positions,
// so that layers over them are 1 x 1 convolutions.
FloatGraph Vit(const Shape& s) {
  if (s.input.height % s.patch != 0 || s.input.width % s.patch != 0)
    throw UsageError(
        fmt::format("vit: images of {} x {} are not whole patches of {} x {}: vit:patch=N sets another size",
                    s.input.height, s.input.width, s.patch, s.patch));
  if (s.channels % s.heads != 0)
    throw UsageError(fmt::format("vit: {} channels are not {} equal heads", s.channels, s.heads));
  GraphBuilder b("vit", s.input);
  const auto layer = [&](int x, const std::string& name, int64_t outputs) {
    return b.Convolve(x, name, outputs, Square(1), 1, true);
  };
  const int patches = b.Convolve(0, "patches", s.channels, Square(s.patch, s.patch), 1, true);
  const int tokens = s.class_token ? WithClassToken(b, patches) : patches;
  const ValueShape shape = b.shape(tokens);
  int x = b.AddNode("embedded", Add{}, {tokens, b.Embed("positions", s.channels, shape.height, shape.width)});
  const auto factor = static_cast<float>(1 / std::sqrt(static_cast<double>(s.channels / s.heads)));
  for (int block = 1; block <= s.depth; ++block) {
    const auto name = [&](const char* part) { return fmt::format("block{}.{}", block, part); };
    int y = b.AddNode(name("norm1"), LayerNormalization{}, {x});
    const int queries = layer(y, name("queries"), s.channels), keys = layer(y, name("keys"), s.channels);
    const int values = layer(y, name("values"), s.channels);
    y = b.AddNode(name("scores"), Product{true, s.heads, factor}, {keys, queries});
    y = b.AddNode(name("attention"), Softmax{s.heads}, {y});
    y = b.AddNode(name("mixed"), Product{false, s.heads, 1}, {values, y});
    x = b.AddNode(name("add1"), Add{}, {x, layer(y, name("projection"), s.channels)});
    y = b.AddNode(name("norm2"), LayerNormalization{}, {x});
    y = layer(y, name("fc1"), 2 * s.channels);
    y = s.relu ? b.Relu(y, name("relu")) : b.AddNode(name("gelu"), Function{"Gelu"}, {y});
    x = b.AddNode(name("add2"), Add{}, {x, layer(y, name("fc2"), s.channels)});
  }
  x = b.AddNode("norm", LayerNormalization{}, {x});
  if (s.class_token) {
    const auto places = static_cast<int32_t>(shape.width);
    b.Connect(b.AddNode("class", Picked({s.channels, 1, 1, true}, [=](int32_t c) { return c * places; }), {x}), "fc",
              s.classes);
  } else {
    b.Connect(b.AveragePoolAll(x, "pool"), "fc", s.classes);
  }
  return b.graph_;
}

struct Entry {
  BuiltIn info;
  FloatGraph (*make)(const Shape&);
  void (*read)(std::string_view options, Shape& shape) = nullptr;  // of what follows the name's colon
};

void ReadForm(std::string_view options, Shape& shape) {
  if (options != "preact") throw UsageError(fmt::format("network: resnet20:{}: expected preact", options));
  shape.preactivation = true;
}

void ReadWidth(std::string_view options, Shape& shape) {
  shape.width = ParseDouble(options, "network: the width", 0.1, 4.0);
}

// "patch=4,depth=6,width=64,heads=4,token=mean,activation=gelu", each of them or not.
void ReadVitOptions(std::string_view options, Shape& shape) {
  for (const std::string& option : Split(options, ',')) {
    if (option == "token=class" || option == "token=mean") {
      shape.class_token = option == "token=class";
      continue;
    }
    if (option == "activation=relu" || option == "activation=gelu") {
      shape.relu = option == "activation=relu";
      continue;
    }
    const size_t equals = option.find('=');
    const std::string key = option.substr(0, equals);
    int* const value = key == "patch"   ? &shape.patch
                       : key == "depth" ? &shape.depth
                       : key == "width" ? &shape.channels
                       : key == "heads" ? &shape.heads
                                        : nullptr;
    if (value == nullptr || equals == std::string::npos)
      throw UsageError(
          fmt::format("network: vit:{}: expected patch=N, depth=N, width=N, heads=N, token=mean|class or "
                      "activation=gelu|relu, with commas between",
                      options));
    *value = static_cast<int>(ParseInt(option.substr(equals + 1), "network: vit's " + key, 1, 4096));
  }
}

const std::vector<Entry>& Entries() {
  static const std::vector<Entry> entries = {
      {{"lenet5", "LeNet-5 with ReLU and max-pooling (LeCun et al. 1998)", {1, 28, 28}, 10}, LeNet5},
      {{"mlp", "perceptron, 2 hidden layers of 256 (Rumelhart et al. 1986)", {1, 28, 28}, 10}, Mlp},
      {{"vgg11", "VGG-11, CIFAR form with normalization (Simonyan, Zisserman 2015)", {3, 32, 32}, 10}, Vgg11},
      {{"resnet8", "image classification of MLPerf Tiny (Banbury et al. 2021)", {3, 32, 32}, 10}, ResNet8},
      {{"resnet20",
        "ResNet-20 with option B shortcuts (He et al. 2016); resnet20:preact: pre-activation (He et al. 2016b)",
        {3, 32, 32},
        10},
       ResNet20,
       ReadForm},
      {{"resnet18", "ResNet-18 with a CIFAR stem (He et al. 2016)", {3, 32, 32}, 10}, ResNet18},
      {{"mobilenetv2", "MobileNetV2, CIFAR form; mobilenetv2:WIDTH scales it (Sandler et al. 2018)", {3, 32, 32}, 10},
       MobileNetV2,
       ReadWidth},
      {{"dscnn", "keyword spotting of MLPerf Tiny (Banbury et al. 2021)", {1, 49, 10}, 12}, DsCnn},
      {{"vit",
        "small vision transformer; vit:patch=4,depth=6,width=64,heads=4,token=mean,activation=gelu (Dosovitskiy et al. "
        "2021)",
        {3, 32, 32},
        10},
       Vit,
       ReadVitOptions}};
  return entries;
}

const Entry* Find(std::string_view name) {
  for (const Entry& entry : Entries()) {
    if (entry.info.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace

const std::vector<BuiltIn>& BuiltIns() {
  static const std::vector<BuiltIn> all = [] {
    std::vector<BuiltIn> infos;
    for (const Entry& entry : Entries()) infos.push_back(entry.info);
    return infos;
  }();
  return all;
}

bool IsBuiltIn(std::string_view text) {
  return Find(text.substr(0, text.find(':'))) != nullptr;
}

FloatGraph MakeBuiltIn(std::string_view text, const ValueShape& input, int classes) {
  const size_t colon = text.find(':');
  const std::string name(text.substr(0, colon));
  const Entry* entry = Find(name);
  if (entry == nullptr) {
    std::vector<std::string> names;
    for (const BuiltIn& known : BuiltIns()) names.push_back(known.name);
    throw UsageError(fmt::format("network: '{}' is neither a file nor one of {}{}", text, fmt::join(names, ", "),
                                 DidYouMean(name, names)));
  }
  Shape shape{input, classes};
  if (colon != std::string_view::npos) {
    if (entry->read == nullptr) throw UsageError(fmt::format("network: {} has no width to be set", name));
    entry->read(text.substr(colon + 1), shape);
  }
  FloatGraph graph = entry->make(shape);
  graph.name = std::string(text);
  return graph;
}

}  // namespace steadfast::network
