#include "steadfast/network/float_onnx.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/float_run.h"
#include "steadfast/network/fusion.h"
#include "steadfast/network/test_graphs.h"

namespace steadfast::network {
namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> BytesOf(const std::string& text) {
  return {text.begin(), text.end()};
}

TEST(FloatOnnx, ReadsWhatItWrites) {
  for (const BuiltIn& known : BuiltIns()) {
    if (known.name == "resnet18" || known.name == "vgg11" || known.name == "mobilenetv2") continue;  // large
    FloatGraph graph = MakeBuiltIn(known.name, known.input, known.classes);
    Randomize(graph, 1);
    graph.metadata["steadfast.recipe"] = "{}";
    const std::string file = ToFloatOnnx(graph);
    EXPECT_TRUE(IsFloatOnnx(BytesOf(file)));
    const FloatGraph read = FloatGraphOf(BytesOf(file), "file.onnx", ".");
    EXPECT_EQ(read.metadata, graph.metadata);
    EXPECT_EQ(ParameterCount(read), ParameterCount(graph));
    ASSERT_EQ(read.nodes.size(), graph.nodes.size()) << known.name;
    for (size_t n = 0; n < read.nodes.size(); ++n) EXPECT_EQ(read.nodes[n].name, graph.nodes[n].name);
    const auto bytes = RandomBytes(static_cast<size_t>(2 * known.input.elements()), 2);
    EXPECT_EQ(RunFloat(read, bytes, {0.01f, 128}, 1), RunFloat(graph, bytes, {0.01f, 128}, 1)) << known.name;
  }
}

// What was moved about in a file of PyTorch's is written as it was read.
TEST(FloatOnnx, ReadsWhatItWritesOfMovedAxes) {
  const fs::path folder = fs::path(STEADFAST_SOURCE_DIR) / "tests" / "outside";
  for (const std::string name : {"vit-14-dyn", "mha-17-dyn", "hf-11-fix", "swin-17-fix", "shuffle-14-dyn"}) {
    const FloatGraph graph = ReadFloatOnnx(folder / ("pytorch-" + name + ".onnx"));
    const FloatGraph read = FloatGraphOf(BytesOf(ToFloatOnnx(graph)), "file.onnx", ".");
    ASSERT_EQ(read.nodes.size(), graph.nodes.size()) << name;
    for (const FloatNode& node : graph.nodes) {  // embeddings may come earlier or later
      const auto same = std::find_if(read.nodes.begin(), read.nodes.end(),
                                     [&](const FloatNode& other) { return other.name == node.name; });
      ASSERT_NE(same, read.nodes.end()) << node.name;
      EXPECT_EQ(read.value(same->output).shape, graph.value(node.output).shape) << node.name;
    }
    const auto bytes = RandomBytes(static_cast<size_t>(2 * graph.values[0].shape.elements()), 2);
    EXPECT_EQ(RunFloat(read, bytes, {0.01f, 128}, 1), RunFloat(graph, bytes, {0.01f, 128}, 1)) << name;
  }
}

// Files that PyTorch 1.13 wrote (tests/outside/README.md), with the logits that it computed for four images.
TEST(FloatOnnx, AgreesWithPyTorchOnItsFiles) {
  const fs::path folder = fs::path(STEADFAST_SOURCE_DIR) / "tests" / "outside";
  for (const std::string name : {"plain-13-bn-dyn", "res-17-folded-dyn", "res-11-bn-fix", "mean-11-folded-fix",
                                 "line-9-folded-dyn", "pads-13", "gelu-13", "vit-14-dyn", "mha-17-dyn", "hf-11-fix",
                                 "sdpa-14-dyn", "swin-17-fix", "shuffle-14-dyn", "next-17-fix"}) {
    const FloatGraph graph = ReadFloatOnnx(folder / ("pytorch-" + name + ".onnx"));
    const int64_t pixels = graph.values[0].shape.elements();
    std::vector<uint8_t> bytes;
    for (int64_t image = 0; image < 4; ++image) {
      for (int64_t i = 0; i < pixels; ++i) bytes.push_back(static_cast<uint8_t>(i * 37 + image * 101 + i * i % 17));
    }
    std::vector<float> logits = RunFloat(graph, bytes, {1 / 255.0f, 0}, 1);
    if (name.starts_with("mean")) {  // ends with a Softmax, which is left out; the expected values are its logarithms
      for (size_t first = 0; first < logits.size(); first += 10) {
        double sum = 0;
        for (size_t k = 0; k < 10; ++k) sum += std::exp(double{logits[first + k]});
        for (size_t k = 0; k < 10; ++k) logits[first + k] -= static_cast<float>(std::log(sum));
      }
    }
    std::istringstream expected(ReadTextFile(folder / ("pytorch-" + name.substr(0, name.find('-')) + ".txt")));
    for (const float logit : logits) {
      double value = 0;
      ASSERT_TRUE(expected >> value) << name;
      EXPECT_NEAR(logit, value, 1e-5) << name;
    }
  }
}

std::vector<float> LogitsOfFour(const FloatGraph& graph) {
  const int64_t pixels = graph.values[0].shape.elements();
  std::vector<uint8_t> bytes;
  for (int64_t image = 0; image < 4; ++image) {
    for (int64_t i = 0; i < pixels; ++i) bytes.push_back(static_cast<uint8_t>(i * 37 + image * 101 + i * i % 17));
  }
  return RunFloat(graph, bytes, {1 / 255.0f, 0}, 1);
}

// Files that were once read wrongly, or brought the reader down (tests/outside/README.md): with PyTorch's or worked out
// logits, or refused by name.
TEST(FloatOnnx, OddFilesAreReadRightOrRefused) {
  const fs::path folder = fs::path(STEADFAST_SOURCE_DIR) / "tests" / "outside" / "odd";
  int right = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".onnx" || name.starts_with("refused-")) continue;
    const std::vector<float> logits = LogitsOfFour(ReadFloatOnnx(entry.path()));
    std::istringstream expected(ReadTextFile(folder / (name + ".txt")));
    for (const float logit : logits) {
      double value = 0;
      ASSERT_TRUE(expected >> value) << name;
      EXPECT_NEAR(logit, value, 1e-5) << name;
    }
    ++right;
  }
  EXPECT_EQ(right, 12);
  const std::map<std::string, std::string> refused = {{"batch-of-four", "is a batch of 4 images"},
                                                      {"bias-of-a-column", "its bias has the shape [16, 1]"},
                                                      {"cast-to-half", "of constants is only taken to float32"},
                                                      {"constant-of-nothing", "has no value that is taken"},
                                                      {"cycle", "is defined twice"},
                                                      {"diamonds", "expected a constant"},
                                                      {"dropout-in-training", "is in training mode"},
                                                      {"expanded-to-less", "[1, 10, 1, -5] is not possible here"},
                                                      {"expanded-to-nothing", "[1, 10, 1, 0] is not possible here"},
                                                      {"means-without-axes", "Sub of two computed values"},
                                                      {"overflow-of-constants", "is not possible here"},
                                                      {"overflow-of-values", "is not possible here"},
                                                      {"padded-output", "expected one number a class"},
                                                      {"padded-pool-rounded-up", "only taken of MaxPool"},
                                                      {"shape-of-padded", "takes padded values"},
                                                      {"softmax-of-a-scalar", "without dimensions"},
                                                      {"softmax-of-rows", "has rows and columns"},
                                                      {"weights-of-nothing", "its weights have the shape [10, 0]"}};
  for (const auto& [name, what] : refused) {
    try {
      ReadFloatOnnx(folder / ("refused-" + name + ".onnx"));
      ADD_FAILURE() << name << " is read";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << name << ": " << error.what();
    }
  }
}

// ---- forms written by hand ----

class File {
 public:
  File() {
    proto_.set_ir_version(8);
    proto_.add_opset_import()->set_version(13);
    Shape(proto_.mutable_graph()->add_input(), "input", {1, 4, 4});
    Shape(proto_.mutable_graph()->add_output(), "output", {2});
  }
  static void Shape(onnx::ValueInfoProto* info, const std::string& name, const std::vector<int64_t>& dims) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(onnx::TensorProto::FLOAT);
    tensor->mutable_shape()->add_dim()->set_dim_param("N");
    for (const int64_t size : dims) tensor->mutable_shape()->add_dim()->set_dim_value(size);
  }
  onnx::TensorProto* Floats(const std::string& name, const std::vector<int64_t>& dims,
                            const std::vector<float>& values) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t size : dims) tensor->add_dims(size);
    for (const float value : values) tensor->add_float_data(value);
    return tensor;
  }
  void Integers(const std::string& name, const std::vector<int64_t>& values) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_dims(static_cast<int64_t>(values.size()));
    for (const int64_t value : values) tensor->add_int64_data(value);
  }
  onnx::NodeProto* Node(const std::string& type, const std::vector<std::string>& inputs, const std::string& output) {
    auto* node = proto_.mutable_graph()->add_node();
    node->set_op_type(type);
    for (const auto& input : inputs) node->add_input(input);
    node->add_output(output);
    return node;
  }
  static void Ints(onnx::NodeProto* node, const std::string& name, const std::vector<int64_t>& values) {
    if (name == "kernel_shape" && node->op_type() != "MaxPool" && node->op_type() != "AveragePool") return;
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute->add_ints(value);
  }
  static void Permute(onnx::NodeProto* node, const std::vector<int64_t>& permutation) {
    Ints(node, "perm", permutation);
  }
  FloatGraph Read() const { return FloatGraphOf(BytesOf(proto_.SerializeAsString()), "file.onnx", folder_); }
  std::string Error() const {
    try {
      Read();
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  // A matrix of 2 outputs and 16 inputs behind value `from`, and the logits of one image.
  void EndWithGemm(const std::string& from) {
    std::vector<float> weights;
    for (int i = 0; i < 32; ++i) weights.push_back(static_cast<float>(i % 7) - 3);
    Floats("w", {2, 16}, weights);
    auto* gemm = Node("Gemm", {from, "w"}, "output");
    auto* attribute = gemm->add_attribute();
    attribute->set_name("transB");
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(1);
  }
  onnx::ModelProto proto_;
  std::filesystem::path folder_ = ".";  // of data beside the file
};

std::vector<float> LogitsOf(const FloatGraph& graph) {
  return RunFloat(graph, RandomBytes(16, 9), {1, 100}, 1);
}

TEST(FloatOnnx, FollowsShapesThatAreComputed) {
  File plain;
  plain.Node("Flatten", {"input"}, "flat");
  plain.EndWithGemm("flat");
  File computed;  // x.view(x.size(0), -1)
  computed.Integers("zero", {0});
  computed.Integers("rest", {-1});
  computed.Node("Shape", {"input"}, "shape");
  computed.Node("Gather", {"shape", "zero"}, "batch");
  computed.Node("Concat", {"batch", "rest"}, "target")->add_attribute()->set_name("axis");
  computed.proto_.mutable_graph()->mutable_node(2)->mutable_attribute(0)->set_type(onnx::AttributeProto::INT);
  computed.Node("Reshape", {"input", "target"}, "flat");
  computed.EndWithGemm("flat");
  EXPECT_EQ(LogitsOf(computed.Read()), LogitsOf(plain.Read()));
}

TEST(FloatOnnx, ReadsDataBesideTheFile) {
  File inside;
  inside.Node("Flatten", {"input"}, "flat");
  inside.EndWithGemm("flat");
  File outside = inside;
  const TemporaryFolder folder;
  outside.folder_ = folder.path();
  const fs::path data = folder.path() / "external.bin";
  auto* tensor = outside.proto_.mutable_graph()->mutable_initializer(0);
  std::string raw(8, 'x');
  for (const float value : tensor->float_data()) raw.append(reinterpret_cast<const char*>(&value), sizeof(value));
  WriteFileWhole(data, raw);
  const auto set = [&](const std::string& key, const std::string& value) {
    auto* entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  };
  tensor->clear_float_data();
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  set("location", data.filename().string());
  set("offset", "8");
  set("length", "128");
  EXPECT_EQ(LogitsOf(outside.Read()), LogitsOf(inside.Read()));
  tensor->mutable_external_data(2)->set_value("1000");
  EXPECT_NE(outside.Error().find("external.bin, which has 136"), std::string::npos) << outside.Error();
  tensor->mutable_external_data(0)->set_value("../x.bin");
  EXPECT_NE(outside.Error().find("not a file beside the model"), std::string::npos);
}

// A convolution of 2 outputs with a 3 x 3 window behind `from`, a ReLU, and a linear layer.
void EndWithConvolution(File& file, const std::string& from, const std::string& auto_pad = "") {
  std::vector<float> weights;
  for (int i = 0; i < 18; ++i) weights.push_back(static_cast<float>(i % 5) - 2);
  file.Floats("kernel", {2, 1, 3, 3}, weights);
  auto* convolution = file.Node("Conv", {from, "kernel"}, "sums");
  if (!auto_pad.empty()) {
    auto* attribute = convolution->add_attribute();
    attribute->set_name("auto_pad");
    attribute->set_type(onnx::AttributeProto::STRING);
    attribute->set_s(auto_pad);
  }
  file.Node("Relu", {"sums"}, "relu");
  file.Node("GlobalAveragePool", {"relu"}, "mean");
  file.Node("Flatten", {"mean"}, "flat");
  file.Floats("w", {2, 2}, {1, 2, 3, -4});
  file.Node("MatMul", {"flat", "w"}, "output");
}

// Paddings add up, whatever nodes they come from; one that depends on the size before them is refused.
TEST(FloatOnnx, AddsPaddingsUp) {
  File once, twice, with_nothing, same;
  once.Integers("pads", {0, 0, 1, 3, 0, 0, 2, 1});
  once.Node("Pad", {"input", "pads"}, "padded");
  EndWithConvolution(once, "padded");
  twice.Integers("first", {0, 0, 1, 1, 0, 0, 0, 1});
  twice.Integers("second", {0, 0, 0, 2, 0, 0, 2, 0});
  twice.Node("Pad", {"input", "first"}, "half");
  twice.Node("Pad", {"half", "second"}, "padded");
  EndWithConvolution(twice, "padded");
  with_nothing.Integers("pads", {0, 0, 1, 3, 0, 0, 2, 1});
  with_nothing.Integers("none", {0, 0, 0, 0, 0, 0, 0, 0});
  with_nothing.Node("Pad", {"input", "pads"}, "really");
  with_nothing.Node("Pad", {"really", "none"}, "padded");
  EndWithConvolution(with_nothing, "padded");
  EXPECT_EQ(LogitsOf(with_nothing.Read()), LogitsOf(once.Read()));
  EXPECT_EQ(LogitsOf(twice.Read()), LogitsOf(once.Read()));
  same.Integers("pads", {0, 0, 1, 1, 0, 0, 1, 1});
  same.Node("Pad", {"input", "pads"}, "padded");
  EndWithConvolution(same, "padded", "SAME_UPPER");
  EXPECT_NE(same.Error().find("auto_pad SAME_UPPER"), std::string::npos) << same.Error();
}

// A term becomes a bias only where nothing else takes the sum, under any of its names.
// A window that rounding up adds holds what is left of the image.
TEST(FloatOnnx, RoundsPoolsUp) {
  const auto pooled = [](const char* type, const std::vector<int64_t>& kernel, const std::vector<int64_t>& strides,
                         bool ceil) {
    File file;
    auto* pool = file.Node(type, {"input"}, "pooled");
    File::Ints(pool, "kernel_shape", kernel);
    File::Ints(pool, "strides", strides);
    auto* attribute = pool->add_attribute();
    attribute->set_name("ceil_mode");
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(ceil ? 1 : 0);
    file.Integers("flat", {1, -1});
    file.Node("Reshape", {"pooled", "flat"}, "line");
    const int64_t rows = ceil ? 2 : 1;
    std::vector<float> ones(static_cast<size_t>(2 * rows * rows), 1.0f);
    ones[0] = 3;
    file.Floats("w", {rows * rows, 2}, ones);
    file.Node("MatMul", {"line", "w"}, "output");
    return file;
  };
  const auto bytes = RandomBytes(16, 9);
  const auto pixel = [&](size_t y, size_t x) { return static_cast<float>(bytes[4 * y + x]) - 100; };
  std::vector<float> most(4, -1000);  // windows of 3 x 3 from 0 and from 2, of which the second has two left
  for (size_t y = 0; y < 4; ++y) {
    for (size_t x = 0; x < 4; ++x) {
      for (const size_t w : {0, 1, 2, 3}) {
        const size_t first_y = w / 2 * 2, first_x = w % 2 * 2;
        if (y >= first_y && y < first_y + 3 && x >= first_x && x < first_x + 3)
          most[w] = std::max(most[w], pixel(y, x));
      }
    }
  }
  const auto logits = LogitsOf(pooled("MaxPool", {3, 3}, {2, 2}, true).Read());
  EXPECT_FLOAT_EQ(logits[0], 3 * most[0] + most[1] + most[2] + most[3]);
  EXPECT_FLOAT_EQ(logits[1], most[0] + most[1] + most[2] + most[3]);
  EXPECT_FLOAT_EQ(LogitsOf(pooled("MaxPool", {3, 3}, {2, 2}, false).Read())[1], most[0]);
  EXPECT_NE(pooled("AveragePool", {3, 3}, {2, 2}, true).Error().find("only taken of MaxPool"), std::string::npos);
  EXPECT_NE(pooled("MaxPool", {1, 1}, {5, 5}, true).Error().find("nothing but padding"), std::string::npos);
}

TEST(FloatOnnx, LeavesASumThatOthersTakeAlone) {
  for (const std::string alias : {"Identity", "Dropout", ""}) {
    File file;
    file.Node("Flatten", {"input"}, "flat");
    std::vector<float> weights;
    for (int i = 0; i < 32; ++i) weights.push_back(static_cast<float>(i % 7) - 3);
    file.Floats("w", {16, 2}, weights);
    file.Node("MatMul", {"flat", "w"}, "y");
    if (!alias.empty()) file.Node(alias, {"y"}, "z");
    file.Floats("c", {2}, {100, -50});
    file.Node("Add", {alias.empty() ? "y" : "z", "c"}, "a");
    file.Node("Relu", {"a"}, "first");
    file.Node("Relu", {"y"}, "second");
    file.Node("Add", {"first", "second"}, "both");
    file.Floats("v", {2, 2}, {1, 0, 0, 1});
    file.Node("MatMul", {"both", "v"}, "output");
    const FloatGraph graph = file.Read();
    const auto bytes = RandomBytes(16, 9);
    std::vector<float> expected(2);
    for (size_t k = 0; k < 2; ++k) {
      float y = 0;
      for (size_t i = 0; i < 16; ++i) y += weights[2 * i + k] * static_cast<float>(bytes[i] - 100);
      expected[k] = std::max(0.0f, y + (k == 0 ? 100.0f : -50.0f)) + std::max(0.0f, y);
    }
    EXPECT_EQ(LogitsOf(graph), expected) << alias;
  }
}

TEST(FloatOnnx, LeavesOutWhatLeadsNowhere) {
  File file;
  file.Node("Flatten", {"input"}, "flat");
  file.Floats("dead", {16, 5}, std::vector<float>(80, 1));
  file.Node("MatMul", {"flat", "dead"}, "unused");
  file.EndWithGemm("flat");
  file.Node("Sigmoid", {"output"}, "unused_too");
  const FloatGraph graph = file.Read();
  EXPECT_EQ(ParameterCount(graph), 32);
  EXPECT_EQ(graph.nodes.size(), 2u);
  EXPECT_EQ(Fuse(graph).back().range, OutputRange::kReal);
}

TEST(FloatOnnx, KnowsUntrainedFilesAndBrokenWeights) {
  const std::string untrained = ToFloatOnnx(MakeBuiltIn("resnet8", {3, 32, 32}, 10));
  const FloatGraph graph = FloatGraphOf(BytesOf(untrained), "x", ".");
  EXPECT_TRUE(graph.parameter(WeightOf(graph.nodes[0])).values.empty());
  EXPECT_THROW(RunFloat(graph, RandomBytes(3072, 1), {1, 0}, 1), InputError);
  File file;
  file.Node("Flatten", {"input"}, "flat");
  file.EndWithGemm("flat");
  file.proto_.mutable_graph()->mutable_initializer(0)->set_float_data(3, std::nanf(""));
  EXPECT_NE(file.Error().find("tensor 'w': holds nan"), std::string::npos) << file.Error();
}

// Constants whose shape promises more than they hold are never read beyond their end.
TEST(FloatOnnx, RefusesConstantsThatAreShorterThanTheirShape) {
  for (const int type : {onnx::TensorProto::INT64, onnx::TensorProto::BOOL}) {
    File file;
    auto* tensor = file.proto_.mutable_graph()->add_initializer();
    tensor->set_name("short");
    tensor->set_data_type(type);
    tensor->add_dims(1000);
    tensor->add_dims(1000);
    if (type == onnx::TensorProto::INT64) tensor->add_int64_data(1);
    file.Node("Transpose", {"short"}, "turned");
    file.Node("Flatten", {"input"}, "flat");
    file.EndWithGemm("flat");
    EXPECT_NE(file.Error(), "") << type;
  }
}

// One tensor that two layers use would be two in our memory.
TEST(FloatOnnx, SharedWeightsAreNotTakenForTwo) {
  File file;
  file.Node("Flatten", {"input"}, "flat");
  file.Floats("w", {16, 16}, std::vector<float>(256, 0.1f));
  file.Node("MatMul", {"flat", "w"}, "one");
  file.Node("Relu", {"one"}, "relu");
  file.Node("MatMul", {"relu", "w"}, "two");
  file.Node("Relu", {"two"}, "last");
  file.EndWithGemm("last");
  file.proto_.mutable_graph()->mutable_initializer(1)->set_name("gemm");
  file.proto_.mutable_graph()->mutable_node(file.proto_.graph().node_size() - 1)->set_input(1, "gemm");
  const FloatGraph graph = file.Read();
  EXPECT_THROW(Fuse(graph), InputError);
}

// The scale and shift of a layer normalization become a part of the layers behind it: of a convolution of several
// groups, and of a linear layer behind a mean and a Flatten.
TEST(FloatOnnx, FoldsScalesBehindLayerNormalization) {
  const auto graph_of = [](bool folded) {
    File made;
    made.proto_.mutable_opset_import(0)->set_version(17);
    made.Floats("c", {2, 1, 1, 1}, {0.5f, -2.0f});
    made.Node("Conv", {"input", "c"}, "two");
    const std::vector<float> scale = {3.0f, -0.5f}, shift = {0.25f, 2.0f};
    made.Floats("scale", {2}, folded ? std::vector<float>{1, 1} : scale);
    made.Floats("shift", {2}, folded ? std::vector<float>{0, 0} : shift);
    File::Permute(made.Node("Transpose", {"two"}, "last"), {0, 2, 3, 1});
    made.Node("LayerNormalization", {"last", "scale", "shift"}, "normal");
    File::Permute(made.Node("Transpose", {"normal"}, "first"), {0, 3, 1, 2});
    const auto factor = [&](int channel) { return folded ? scale[static_cast<size_t>(channel)] : 1.0f; };
    made.Floats("w", {2, 1, 1, 1}, {0.7f * factor(0), 0.3f * factor(1)});
    const std::vector<float> bias = {1.0f, -1.0f};
    made.Floats("b", {2}, folded ? std::vector<float>{1.0f + 0.7f * shift[0], -1.0f + 0.3f * shift[1]} : bias);
    auto* grouped = made.Node("Conv", {"first", "w", "b"}, "mixed");
    auto* groups = grouped->add_attribute();
    groups->set_name("group");
    groups->set_type(onnx::AttributeProto::INT);
    groups->set_i(2);
    made.Node("GlobalAveragePool", {"first"}, "mean");
    made.Node("GlobalAveragePool", {"mixed"}, "other");
    made.Node("Flatten", {"mean"}, "flat");
    made.Node("Flatten", {"other"}, "flat2");
    made.Floats("l", {2, 2}, {1.0f * factor(0), 2.0f * factor(0), 3.0f * factor(1), 4.0f * factor(1)});
    made.Floats("lb", {2},
                folded ? std::vector<float>{shift[0] + 3.0f * shift[1], 2.0f * shift[0] + 4.0f * shift[1]}
                       : std::vector<float>{0, 0});
    made.Node("Gemm", {"flat", "l", "lb"}, "one");
    made.Floats("k", {2, 2}, {0.1f, 0.2f, 0.3f, 0.4f});
    made.Node("MatMul", {"flat2", "k"}, "two_more");
    made.Node("Add", {"one", "two_more"}, "output");
    return made.Read();
  };
  const FloatGraph graph = graph_of(false);
  for (const FloatNode& node : graph.nodes)
    EXPECT_FALSE(std::holds_alternative<BatchNormalization>(node.operation)) << node.name;
  const auto bytes = RandomBytes(32, 3);
  const auto got = RunFloat(graph, bytes, {0.01f, 128}, 1), expected = RunFloat(graph_of(true), bytes, {0.01f, 128}, 1);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5);
  // So does a batch normalization there, its mean and variance too.
  const auto behind = [](bool is_batch) {
    File made;
    made.proto_.mutable_opset_import(0)->set_version(17);
    made.Floats("c", {2, 1, 1, 1}, {0.5f, -2.0f});
    made.Node("Conv", {"input", "c"}, "two");
    File::Permute(made.Node("Transpose", {"two"}, "last"), {0, 2, 3, 1});
    made.Floats("ones", {2}, {1, 1});
    made.Floats("scale", {2}, {3.0f, -0.5f});
    made.Floats("shift", {2}, {0.25f, 2.0f});
    made.Node("LayerNormalization",
              is_batch ? std::vector<std::string>{"last", "ones"} : std::vector<std::string>{"last", "scale", "shift"},
              "normal");
    File::Permute(made.Node("Transpose", {"normal"}, "first"), {0, 3, 1, 2});
    if (is_batch) {  // (x - mean) * gamma / sqrt(variance + epsilon) + beta, which is scale * x + shift
      made.Floats("mean", {2}, {0.5f, -1.0f});
      made.Floats("variance", {2}, {4.0f, 0.25f});
      made.Floats("gamma", {2}, {6.0f, -0.25f});
      made.Floats("beta", {2}, {1.75f, 2.5f});
      made.Node("BatchNormalization", {"first", "gamma", "beta", "mean", "variance"}, "scaled");
    }
    made.Floats("w", {2, 2, 1, 1}, {0.7f, 0.3f, -0.4f, 0.9f});
    made.Node("Conv", {is_batch ? "scaled" : "first", "w"}, "mixed");
    made.Node("GlobalAveragePool", {"mixed"}, "mean_of_all");
    made.Node("Flatten", {"mean_of_all"}, "output");
    return made.Read();
  };
  const auto one = RunFloat(behind(true), bytes, {0.01f, 128}, 1),
             two = RunFloat(behind(false), bytes, {0.01f, 128}, 1);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], two[i], 1e-4);
  // A function of them is not linear: the scale stays where it is.
  File other;
  other.proto_.mutable_opset_import(0)->set_version(17);
  other.Floats("scale", {4}, {1, 2, 3, 4});
  File::Permute(other.Node("Transpose", {"input"}, "last"), {0, 2, 3, 1});
  other.Floats("one", {1}, {2});
  other.Floats("half", {1}, {0.5f});
  other.Node("LayerNormalization", {"last", "one", "half"}, "normal");
  File::Permute(other.Node("Transpose", {"normal"}, "first"), {0, 3, 1, 2});
  other.Node("Tanh", {"first"}, "bent");
  other.Node("Flatten", {"bent"}, "flat");
  other.EndWithGemm("flat");
  const FloatGraph bent = other.Read();
  EXPECT_EQ(Fuse(bent)[1].name, "normal.scaled");
  std::vector<float> wanted(2, 0.0f);  // of one channel nothing but the shift is left
  for (size_t i = 0; i < 32; ++i) wanted[i / 16] += (static_cast<float>(i % 7) - 3) * std::tanh(0.5f);
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(LogitsOf(bent)[i], wanted[i], 1e-4);
}

// What operators on moved axes are, element by element: worked out from the bytes by hand.
TEST(FloatOnnx, OperatorsTakeMovedAxes) {
  const auto bytes = RandomBytes(16, 9);
  const auto pixel = [&](int64_t y, int64_t x) {
    return static_cast<float>(bytes[static_cast<size_t>(4 * y + x)]) - 100;
  };
  const auto end = [](File& file, const std::string& from) {  // ends with two weighted sums of 16
    file.Node("Flatten", {from}, "flat");
    file.EndWithGemm("flat");
    return LogitsOf(file.Read());
  };
  const auto expected = [&](const std::function<float(int64_t)>& element) {
    std::vector<float> logits(2, 0.0f);
    for (int64_t o = 0; o < 2; ++o) {
      for (int64_t i = 0; i < 16; ++i)
        logits[static_cast<size_t>(o)] += (static_cast<float>((16 * o + i) % 7) - 3) * element(i);
    }
    return logits;
  };
  const auto near = [](const std::vector<float>& got, const std::vector<float>& wanted, const char* what) {
    ASSERT_EQ(got.size(), wanted.size()) << what;
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-3f + 1e-5f * std::abs(wanted[i])) << what;
  };
  {
    File file;  // rows and columns turned, then a function of each
    File::Permute(file.Node("Transpose", {"input"}, "turned"), {0, 1, 3, 2});
    file.Node("Relu", {"turned"}, "positive");
    near(end(file, "positive"), expected([&](int64_t i) { return std::max(0.0f, pixel(i % 4, i / 4)); }), "Relu");
  }
  {
    File file;  // rows as channels, pooled along what were columns
    file.Integers("rows", {0, 4, 1, 4});
    file.Node("Reshape", {"input", "rows"}, "channels");
    File::Permute(file.Node("Transpose", {"channels"}, "turned"), {0, 3, 2, 1});
    auto* pool = file.Node("MaxPool", {"turned"}, "pooled");
    File::Ints(pool, "kernel_shape", {1, 2});
    File::Ints(pool, "pads", {0, 0, 0, 1});
    near(end(file, "pooled"), expected([&](int64_t i) {  // channel i / 4 is a column, position i % 4 a row
           const int64_t x = i / 4, y = i % 4;
           return y == 3 ? pixel(y, x) : std::max(pixel(y, x), pixel(y + 1, x));
         }),
         "MaxPool");
  }
  {
    File file;  // halves, joined the other way round along the rows, from the last column to the first
    auto* split = file.Node("Split", {"input"}, "upper");
    split->add_output("lower");
    auto* axis = split->add_attribute();
    axis->set_name("axis");
    axis->set_type(onnx::AttributeProto::INT);
    axis->set_i(2);
    auto* joined = file.Node("Concat", {"lower", "upper"}, "joined");
    *joined->add_attribute() = *axis;
    for (const auto& [name, value] :
         {std::pair{"from", -1}, std::pair{"end", -5}, std::pair{"axes", 3}, std::pair{"step", -1}})
      file.Integers(name, {value});
    file.Node("Slice", {"joined", "from", "end", "axes", "step"}, "mirrored");
    near(end(file, "mirrored"), expected([&](int64_t i) { return pixel((i / 4 + 2) % 4, 3 - i % 4); }), "Split");
  }
  {
    File file;  // the product of the image with its transpose, and a term of each element behind it
    file.Integers("matrix", {0, 4, 4});
    file.Node("Reshape", {"input", "matrix"}, "m");
    File::Permute(file.Node("Transpose", {"m"}, "t"), {0, 2, 1});
    file.Node("MatMul", {"m", "t"}, "product");
    std::vector<float> terms;
    for (int i = 0; i < 16; ++i) terms.push_back(static_cast<float>(100 * i));
    file.Floats("terms", {4, 4}, terms);
    file.Node("Add", {"product", "terms"}, "sum");
    near(end(file, "sum"), expected([&](int64_t i) {
           float sum = static_cast<float>(100 * i);
           for (int64_t k = 0; k < 4; ++k) sum += pixel(i / 4, k) * pixel(i % 4, k);
           return sum;
         }),
         "MatMul");
  }
  for (const int64_t axis : {2, 3}) {
    File file;  // of columns, and of rows
    auto* softmax = file.Node("Softmax", {"input"}, "shares");
    auto* attribute = softmax->add_attribute();
    attribute->set_name("axis");
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(axis);
    near(end(file, "shares"), expected([&](int64_t i) {
           const int64_t y = i / 4, x = i % 4;
           double sum = 0;
           for (int64_t k = 0; k < 4; ++k)
             sum += std::exp(double{axis == 2 ? pixel(k, x) : pixel(y, k)} - double{pixel(y, x)});
           return static_cast<float>(1 / sum);
         }),
         "Softmax");
  }
  {
    File file;  // means of the rows, taken from each of them
    auto* mean = file.Node("ReduceMean", {"input"}, "means");
    File::Ints(mean, "axes", {3});
    file.Floats("minus", {1}, {-1});
    file.Node("Mul", {"means", "minus"}, "negative");
    file.Node("Add", {"negative", "input"}, "centred");
    near(end(file, "centred"), expected([&](int64_t i) {
           float sum = 0;
           for (int64_t k = 0; k < 4; ++k) sum += pixel(i / 4, k);
           return pixel(i / 4, i % 4) - sum / 4;
         }),
         "ReduceMean");
  }
}

TEST(FloatOnnx, RefusesByName) {
  const auto error_of = [](const std::function<void(File&)>& change) {
    File file;
    change(file);
    return file.Error();
  };
  const auto names = [](const std::string& error, const std::string& what) {
    EXPECT_NE(error.find(what), std::string::npos) << error;
  };
  names(error_of([](File& f) {
          f.Node("Einsum", {"input", "input"}, "output");
        }),
        "node 'output' (Einsum): this operator is not taken over");
  names(error_of([](File& f) { f.Node("QuantizeLinear", {"input"}, "output"); }), "belongs to a quantized network");
  names(error_of([](File& f) { f.Node("Relu", {"missing"}, "output"); }), "'missing' is not defined");
  names(error_of([](File& f) {
          f.Node("Sigmoid", {"input"}, "gate");
          f.Node("Div", {"input", "gate"}, "output");
        }),
        "Div of two computed values");
  names(error_of([](File& f) {
          f.Node("Softmax", {"input"}, "shares");
          f.Node("Relu", {"shares"}, "output");
        }),
        "has rows and columns");
  names(error_of([](File& f) {
          f.Node("Flatten", {"input"}, "flat");
          f.Node("MatMul", {"input", "flat"}, "output");
        }),
        "multiplies matrices of shapes [1, 1, 4, 4] and [1, 16]");
  names(error_of([](File& f) {
          f.Integers("to", {0, 5, 5});
          f.Node("Reshape", {"input", "to"}, "output");
        }),
        "[1, 1, 4, 4] (one image) cannot have the shape [0, 5, 5]");
  names(error_of([](File& f) { f.Node("Relu", {"input"}, "output"); }), "has rows and columns");
  names(error_of([](File& f) {
          f.Node("Flatten", {"input"}, "flat");
          f.Floats("w", {3, 2}, {1, 2, 3, 4, 5, 6});
          f.Node("MatMul", {"flat", "w"}, "output");
        }),
        "its weights take 3 inputs, and its input has the shape [1, 16]");
  names(error_of([](File& f) { f.proto_.mutable_graph()->add_input()->set_name("second"); }), "several inputs");
  names(error_of([](File& f) {
          auto* shape =
              f.proto_.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
          shape->mutable_dim(2)->set_dim_param("rows");
        }),
        "dimension 2 has no fixed size");
}

}  // namespace
}  // namespace steadfast::network
