// What is read from files, held to ONNX Runtime with optimizations disabled: on files in many producers' styles, on our
// own, and on the cases of docs of which the right values are known.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/base/text.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/scores.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/float_run.h"
#include "steadfast/network/post_training.h"
#include "steadfast/network/test_graphs.h"
#include "tests/float_layouts.h"
#include "tests/onnx_styles.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;
using model::QuantizedModel;

constexpr int64_t kImages = 6;

// A file to compare on, and what its input is fed with.
struct Case {
  std::string name;
  std::string bytes;
  std::vector<std::string> codes;  // tensors of codes
  bool exact = false;
  QuantizedModel model;
  std::vector<uint8_t> images;  // bytes [n, elements]
};

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The model with its codes as outputs too.
std::string WithCodesAsOutputs(const Case& c) {
  onnx::ModelProto proto;
  proto.ParseFromString(c.bytes);
  for (const std::string& name : c.codes) {
    for (const auto& value : c.model.values) {
      if (value.name != name || !value.coding) continue;  // a pair that changes nothing is no value of ours
      auto* output = proto.mutable_graph()->add_output();
      output->set_name(name);
      output->mutable_type()->mutable_tensor_type()->set_elem_type(value.coding->is_signed ? onnx::TensorProto::INT8
                                                                                           : onnx::TensorProto::UINT8);
    }
  }
  return proto.SerializeAsString();
}

class Oracle {
 public:
  explicit Oracle(std::string modules) : modules_(std::move(modules)) {}

  // Runs all cases; the results lie in FolderOf(i).
  void Run(const std::vector<Case>& cases) {
    nlohmann::json jobs = nlohmann::json::array();
    for (size_t i = 0; i < cases.size(); ++i) {
      const Case& c = cases[i];
      const fs::path folder = FolderOf(i);
      fs::create_directories(folder);
      WriteFileWhole(folder / "m.onnx", WithCodesAsOutputs(c));
      const model::ValueShape& shape = c.model.value(0).shape;
      std::vector<int64_t> dims = {static_cast<int64_t>(c.images.size()) / shape.elements(), shape.channels};
      if (!shape.flat) dims.insert(dims.end(), {shape.height, shape.width});
      std::string input(c.images.begin(), c.images.end());
      if (c.model.real_input) {
        std::vector<float> reals;
        for (uint8_t byte : c.images) reals.push_back(static_cast<float>(byte) / 255.0f);
        input.assign(reinterpret_cast<const char*>(reals.data()), reals.size() * sizeof(float));
      }
      WriteFileWhole(folder / "input", input);
      jobs.push_back({{"model", (folder / "m.onnx").string()},
                      {"input", (folder / "input").string()},
                      {"type", c.model.real_input ? "float32" : "uint8"},
                      {"dims", dims},
                      {"out", folder.string()}});
    }
    WriteFileWhole(folder_ / "jobs.json", jobs.dump());
    const auto result = RunProcess("/usr/bin/env",
                                   {"node", std::string(STEADFAST_SOURCE_DIR) + "/tests/onnxruntime_run.cjs", modules_,
                                    (folder_ / "jobs.json").string()},
                                   [](std::string_view) {});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }
  fs::path FolderOf(size_t i) const { return folder_ / std::to_string(i); }

 private:
  std::string modules_;
  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

struct Comparison {
  int64_t files = 0, codes = 0, differing = 0, far_from_ties = 0, exact_differing = 0;
  int64_t predictions = 0, differing_predictions = 0;
};

// Node by node, each from ONNX Runtime's own codes, so that one difference does not count again behind it.
void Compare(const Case& c, const fs::path& folder, Comparison& comparison) {
  if (fs::exists(folder / "error")) FAIL() << c.name << ": " << ReadTextFile(folder / "error");
  ++comparison.files;
  const QuantizedModel& m = c.model;
  const int64_t n = static_cast<int64_t>(c.images.size()) / m.value(0).shape.elements();
  std::vector<std::vector<uint8_t>> codes(m.values.size());  // [value][n * elements]
  const auto theirs = [&](const model::Value& value) {
    const std::string name = value.name;
    std::vector<uint8_t> bytes;
    if (value.coding && fs::exists(folder / name)) bytes = ReadFile(folder / name);
    // Stored codes to ours.
    for (uint8_t& byte : bytes) {
      const int stored = value.coding->is_signed ? static_cast<int8_t>(byte) : byte;
      byte = static_cast<uint8_t>(stored - value.coding->stored_offset());
    }
    return bytes;
  };
  if (!m.real_input) {
    codes[0] = c.images;
  } else {
    const model::Quantization quantization = model::QuantizationOf(*m.value(0).coding, {});
    for (uint8_t byte : c.images) codes[0].push_back(model::CodeOf(static_cast<float>(byte) / 255.0f, quantization));
  }
  std::vector<float> logits;
  for (const model::Node& node : m.nodes) {
    const model::Value& output = m.value(node.output);
    const auto elements = static_cast<size_t>(output.shape.elements());
    const auto run = [&](const QuantizedModel& with) {
      const auto rule = node.operation.definition().scalar_rule(with, node);
      std::vector<uint8_t> all(static_cast<size_t>(n) * elements);
      std::vector<float> reals(elements);
      for (int64_t i = 0; i < n; ++i) {
        std::vector<std::span<const uint8_t>> inputs;
        for (int input : node.inputs) {
          const auto size = static_cast<size_t>(m.value(input).shape.elements());
          inputs.push_back(std::span(codes[static_cast<size_t>(input)]).subspan(static_cast<size_t>(i) * size, size));
        }
        rule(inputs, std::span(all).subspan(static_cast<size_t>(i) * elements, elements), reals);
        if (!output.coding) logits.insert(logits.end(), reals.begin(), reals.end());
      }
      return all;
    };
    auto& own = codes[static_cast<size_t>(node.output)];
    own = run(m);
    auto other = theirs(output);
    if (other.empty()) continue;
    if (other.size() ==
        static_cast<size_t>(output.shape.elements())) {  // of constants alone: computed once for all images
      const auto once = other;
      for (int64_t i = 1; i < n; ++i) other.insert(other.end(), once.begin(), once.end());
    }
    ASSERT_EQ(other.size(), own.size()) << c.name << " " << output.name;
    comparison.codes += static_cast<int64_t>(own.size());
    std::vector<std::vector<uint8_t>> beside;  // with scales a little larger and smaller
    for (size_t i = 0; i < own.size(); ++i) {
      if (own[i] == other[i]) continue;
      ++comparison.differing;
      if (c.exact) {
        ++comparison.exact_differing;
        EXPECT_LT(comparison.exact_differing, 5)
            << c.name << " " << node.name << ": " << int{own[i]} << " " << int{other[i]};
      }
      if (beside.empty()) {
        for (double step : {1e-4, -1e-4}) {
          QuantizedModel moved = m;
          float& scale = moved.values[static_cast<size_t>(node.output)].coding->scale;
          scale = static_cast<float>(double{scale} * (1 + step / 128));
          beside.push_back(run(moved));
        }
      }
      const bool tie = beside[0][i] == other[i] || beside[1][i] == other[i];
      comparison.far_from_ties += !tie;
      EXPECT_TRUE(tie) << c.name << " " << node.name << " (" << model::KindOf(node) << "): " << int{own[i]} << " here, "
                       << int{other[i]} << " there";
    }
    own = other;
  }
  const auto bytes = ReadFile(folder / m.value(m.output).name);
  std::vector<float> their_logits(bytes.size() / sizeof(float));
  std::memcpy(their_logits.data(), bytes.data(), bytes.size());
  ASSERT_EQ(their_logits.size(), logits.size()) << c.name;
  const auto classes = static_cast<size_t>(m.classes());
  for (int64_t i = 0; i < n; ++i) {
    const size_t at = static_cast<size_t>(i) * classes;
    const auto mine = std::span(logits).subspan(at, classes), ort = std::span(their_logits).subspan(at, classes);
    ++comparison.predictions;
    comparison.differing_predictions += engine::ArgMax(mine) != engine::ArgMax(ort);
    for (size_t k = 0; k < classes; ++k)
      EXPECT_NEAR(mine[k], ort[k], 1e-3 * std::max(1.0f, std::abs(ort[k]))) << c.name << " logit " << k;
  }
}

void Print(const char* what, const Comparison& c) {
  std::printf(
      "%s: %lld files, %lld of %lld codes differ from ONNX Runtime's (%lld far from a tie), %lld of %lld predictions\n",
      what, static_cast<long long>(c.files), static_cast<long long>(c.differing), static_cast<long long>(c.codes),
      static_cast<long long>(c.far_from_ties), static_cast<long long>(c.differing_predictions),
      static_cast<long long>(c.predictions));
}

std::string Modules() {
  const char* modules = std::getenv("STEADFAST_ONNXRUNTIME");
  return modules != nullptr ? modules : STEADFAST_ONNXRUNTIME_MODULES;
}

bool HasOracle() {
  return fs::exists(fs::path(Modules()) / "onnxruntime-node");
}

#define SKIP_WITHOUT_ORACLE()                        \
  if (!HasOracle())                                  \
  GTEST_SKIP() << "no ONNX Runtime in " << Modules() \
               << ": STEADFAST_ORACLE=ON tools/install-dependencies gets it from npm"

int64_t CountFrom(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : ParseInt(text, variable, 1, 1'000'000);
}

// Files that must be refused are, by name; all others are read, whatever their style.
TEST(OnnxStyles, AreReadOrRefusedByName) {
  int refused = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const StyledModel styled = MakeStyledModel(seed);
    std::string error;
    try {
      model::FromOnnx(BytesOf(styled.bytes), "styled.onnx");
    } catch (const InputError& e) {
      error = e.what();
    }
    if (styled.refused_for.empty()) {
      ASSERT_EQ(error, "") << "seed " << seed << ", opset " << styled.opset;
    } else {
      ASSERT_NE(error.find(styled.refused_for), std::string::npos) << "seed " << seed << ": " << error;
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

// ---- float networks ----

// A graph of every operator that float networks have.
network::FloatGraph RandomFloatGraph(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t bound) { return static_cast<int>(random() % bound); };
  network::GraphBuilder builder(fmt::format("graph {}", seed), {1 + below(4), 6 + below(8), 6 + below(8)});
  int x = 0;
  for (int layer = 0; layer < 5; ++layer) {
    const std::string name = fmt::format("layer{}", layer);
    const model::ValueShape shape = builder.shape(x);
    network::Window window{.stride_h = 1 + below(2)};
    window.kernel_h = 1 + below(static_cast<uint64_t>(std::min<int64_t>(3, shape.height)));
    window.kernel_w = 1 + below(static_cast<uint64_t>(std::min<int64_t>(3, shape.width)));
    window.pad_top = below(2);
    window.pad_right = below(2);
    switch (below(11)) {
      case 0: {
        const bool depthwise = below(2) == 0;
        x = builder.Convolve(x, name, depthwise ? 2 * shape.channels : 1 + below(6), window,
                             depthwise ? shape.channels : 1, below(2) == 0);
        x = builder.Normalize(x, name + ".bn");
        break;
      }
      case 1:
        x = builder.AddNode(name, network::Clip{below(2) == 0 ? 0.0f : -1.0f, below(2) == 0 ? 6.0f : 2.0f}, {x});
        break;
      case 2: {
        const char* const functions[] = {"LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid",
                                         "Tanh",      "Gelu",        "GeluTanh",  "Silu"};
        x = builder.AddNode(name, network::Function{functions[below(8)], 0.2f, 0.4f}, {x});
        break;
      }
      case 3:
        if (shape.height > 3 && shape.width > 3)
          x = builder.AddNode(name, network::MaxPool{network::Square(2, 2)}, {x});
        break;
      case 4:
        if (shape.height > 3 && shape.width > 3)
          x = builder.AddNode(name, network::AveragePool{network::Square(3, 1, 1)}, {x});
        break;
      case 5:
        x = builder.AddNode(name, network::Add{}, {x, builder.Relu(x, name + ".relu")});
        break;
      case 6: {  // attention of the value to itself
        const int heads = 1 + below(3);
        const int64_t channels = heads * (1 + below(3));
        const auto part = [&](const char* as) { return builder.Convolve(x, name + as, channels, network::Square(1)); };
        const int keys = part(".keys"), queries = part(".queries");
        int y = builder.AddNode(name + ".scores", network::Product{true, heads, below(2) == 0 ? 1.0f : 0.5f},
                                {keys, queries});
        y = builder.AddNode(name + ".softmax", network::Softmax{heads}, {y});
        x = builder.AddNode(name, network::Product{false, heads, 1}, {part(".values"), y});
        break;
      }
      case 7:
        x = builder.AddNode(name, network::LayerNormalization{1e-3f}, {x});
        break;
      case 8: {  // a gate: of each element, or one a channel
        const int from = below(2) == 0 ? x : builder.AveragePoolAll(x, name + ".mean");
        x = builder.AddNode(name, network::Multiply{},
                            {x, builder.AddNode(name + ".gate", network::Function{"Sigmoid"}, {from})});
        break;
      }
      case 9:
        if (shape.height * shape.width > 1)
          x = builder.AddNode(name, network::Add{},
                              {x, builder.Embed(name + ".positions", shape.channels, shape.height, shape.width)});
        break;
      default:
        x = builder.AddNode(name, network::Concatenate{}, {builder.Relu(x, name + ".relu"), x});
    }
  }
  builder.Connect(x, "fc", 1 + below(6));
  network::Randomize(builder.graph_, seed);
  return builder.graph_;
}

// A float file, and what its input is fed with: bytes as 0.01 * (byte - 128).
struct FloatCase {
  std::string name, file;
  std::vector<int64_t> dims;  // of the input, images first
  std::vector<uint8_t> bytes = {};
};

// The largest difference of our logits to ONNX Runtime's, as a share of each file's largest. Files that the reader
// refuses must not be among the cases.
double LargestDifference(std::vector<FloatCase>& cases, double bound) {
  const TemporaryFolder temporary;
  const fs::path& folder = temporary.path();
  nlohmann::json jobs = nlohmann::json::array();
  for (size_t g = 0; g < cases.size(); ++g) {
    FloatCase& c = cases[g];
    const fs::path own = folder / std::to_string(g);
    fs::create_directories(own);
    WriteFileWhole(own / "m.onnx", c.file);
    int64_t elements = 1;
    for (const int64_t size : c.dims) elements *= size;
    c.bytes = network::RandomBytes(static_cast<size_t>(elements), g);
    std::vector<float> reals;
    for (const uint8_t byte : c.bytes) reals.push_back(0.01f * static_cast<float>(byte - 128));
    WriteFileWhole(own / "input",
                   std::string(reinterpret_cast<const char*>(reals.data()), reals.size() * sizeof(float)));
    jobs.push_back({{"model", (own / "m.onnx").string()},
                    {"input", (own / "input").string()},
                    {"type", "float32"},
                    {"dims", c.dims},
                    {"out", own.string()}});
  }
  WriteFileWhole(folder / "jobs.json", jobs.dump());
  const auto result = RunProcess("/usr/bin/env",
                                 {"node", std::string(STEADFAST_SOURCE_DIR) + "/tests/onnxruntime_run.cjs", Modules(),
                                  (folder / "jobs.json").string()},
                                 [](std::string_view) {});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  double worst = 0;
  for (size_t g = 0; g < cases.size() && result.exit_code == 0; ++g) {
    const fs::path own = folder / std::to_string(g);
    if (fs::exists(own / "error")) {
      ADD_FAILURE() << cases[g].name << ": " << ReadTextFile(own / "error");
      continue;
    }
    const std::vector<float> ours =
        network::RunFloat(network::ReadFloatOnnx(own / "m.onnx"), cases[g].bytes, {0.01f, 128}, 1);
    const auto raw = ReadFile(own / "logits");
    std::vector<float> theirs(raw.size() / sizeof(float));
    std::memcpy(theirs.data(), raw.data(), raw.size());
    EXPECT_EQ(ours.size(), theirs.size()) << cases[g].name;
    double largest = 1e-3, own_worst = 0;
    for (const float logit : theirs) largest = std::max(largest, std::abs(double{logit}));
    for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i)
      own_worst = std::max(own_worst, std::abs(double{ours[i]} - theirs[i]) / largest);
    EXPECT_LT(own_worst, bound) << cases[g].name;
    worst = std::max(worst, own_worst);
  }
  return worst;
}

TEST(OnnxRuntime, AgreesOnFloatNetworks) {
  SKIP_WITHOUT_ORACLE();
  std::vector<FloatCase> cases;
  const auto add = [&](network::FloatGraph graph, uint64_t seed) {
    if (graph.parameters[0].values.empty()) network::Randomize(graph, seed);
    const model::ValueShape& shape = graph.values[0].shape;
    cases.push_back({graph.name, network::ToFloatOnnx(graph), {kImages, shape.channels, shape.height, shape.width}});
  };
  for (const char* name :
       {"lenet5", "mlp", "resnet8", "resnet20:preact", "mobilenetv2:0.25", "dscnn", "vit", "vit:depth=2,token=class"}) {
    for (const network::BuiltIn& known : network::BuiltIns()) {
      if (std::string_view(name).starts_with(known.name))
        add(network::MakeBuiltIn(name, known.input, known.classes), 1);
    }
  }
  const int64_t random_graphs = CountFrom("STEADFAST_ORACLE_GRAPHS", 60);
  for (int64_t seed = 0; seed < random_graphs; ++seed)
    add(RandomFloatGraph(static_cast<uint64_t>(seed)), static_cast<uint64_t>(seed));
  const double worst = LargestDifference(cases, 1e-4);
  std::printf("float: %zu networks, logits differ from ONNX Runtime's by at most %.1e of the largest\n", cases.size(),
              worst);
}

// Files whose axes are moved about, at random: read right, or refused by name, which few are.
TEST(OnnxRuntime, AgreesOnMovedAxes) {
  SKIP_WITHOUT_ORACLE();
  std::vector<FloatCase> cases;
  std::map<std::string, int> refused;
  const int64_t count = 4 * CountFrom("STEADFAST_ORACLE_GRAPHS", 60);
  for (int64_t seed = 0; seed < count; ++seed) {
    const FloatLayout layout = MakeFloatLayout(static_cast<uint64_t>(seed));
    try {
      network::FloatGraphOf(BytesOf(layout.bytes), "layout", ".");
      cases.push_back({fmt::format("layout {}", seed), layout.bytes, layout.input_shape});
    } catch (const InputError& error) {
      const std::string what = error.what();
      ++refused[what.substr(what.find(": ", what.find("node")) + 2, 40)];
    }
  }
  const double worst = LargestDifference(cases, 1e-4);
  std::printf("moved axes: %zu files, logits differ from ONNX Runtime's by at most %.1e of the largest\n", cases.size(),
              worst);
  for (const auto& [what, times] : refused) std::printf("  refused: %d of %s\n", times, what.c_str());
  EXPECT_GT(cases.size(), static_cast<size_t>(count) * 3 / 4);
}

// Every code where scales are powers of two; elsewhere only codes next to a tie, and few of them.
TEST(OnnxRuntime, AgreesOnFilesOfManyStyles) {
  SKIP_WITHOUT_ORACLE();
  const int64_t graphs = CountFrom("STEADFAST_ORACLE_GRAPHS", 300);
  Comparison exact, others;
  constexpr int64_t kAtOnce = 200;
  for (int64_t first = 0; first < graphs; first += kAtOnce) {
    std::vector<Case> cases;
    for (int64_t seed = first; seed < std::min(graphs, first + kAtOnce); ++seed) {
      const StyledModel styled = MakeStyledModel(static_cast<uint64_t>(seed));
      if (!styled.refused_for.empty()) continue;
      Case c{"seed " + std::to_string(seed), styled.bytes, styled.codes, styled.exact, {}, {}};
      c.model = model::FromOnnx(BytesOf(styled.bytes), c.name);
      c.images = model::RandomImages(c.model, kImages, static_cast<uint64_t>(seed));
      cases.push_back(std::move(c));
    }
    Oracle oracle(Modules());
    ASSERT_NO_FATAL_FAILURE(oracle.Run(cases));
    for (size_t i = 0; i < cases.size(); ++i)
      ASSERT_NO_FATAL_FAILURE(Compare(cases[i], oracle.FolderOf(i), cases[i].exact ? exact : others));
  }
  Print("powers of two", exact);
  Print("other scales", others);
  EXPECT_EQ(exact.differing, 0);
  EXPECT_EQ(others.far_from_ties, 0);
  EXPECT_LE(others.differing, others.codes / 100000 + 1);
  EXPECT_GT(exact.codes, graphs * 300);
  EXPECT_GT(others.codes, graphs * 300);
}

// Our own files: random graphs of every operator, and LeNet-5.
TEST(OnnxRuntime, AgreesOnOurFiles) {
  SKIP_WITHOUT_ORACLE();
  std::vector<Case> cases;
  const auto add = [&](QuantizedModel made, int64_t images) {
    Case c{made.name, model::ToOnnx(made), {}, false, {}, {}};
    c.model = model::FromOnnx(BytesOf(c.bytes), c.name);
    c.images = model::RandomImages(c.model, images, 7);
    for (const model::Node& node : c.model.nodes) {
      if (c.model.value(node.output).coding && !node.operation.definition().keeps_coding)
        c.codes.push_back(c.model.value(node.output).name);
    }
    cases.push_back(std::move(c));
  };
  add(model::RandomLeNet5(4, 4, 1), 100);
  for (uint64_t seed = 0; seed < 60; ++seed) add(model::RandomModel(seed), 20);
  // What becomes of files that move axes about, where it has a form on codes.
  int moved = 0;
  for (uint64_t seed = 0; seed < 120; ++seed) {
    const network::FloatGraph graph = network::FloatGraphOf(BytesOf(MakeFloatLayout(seed).bytes), "layout", ".");
    const auto bytes = network::RandomBytes(static_cast<size_t>(4 * graph.values[0].shape.elements()), seed);
    try {
      QuantizedModel made = network::Quantize(graph, bytes, {0.01f, 128}, {.threads = 1});
      // Normalizing numbers that are all equal gives nothing but rounding.
      const bool is_noise = std::any_of(made.values.begin(), made.values.end(), [](const model::Value& value) {
        return value.coding && value.coding->scale < 1e-6f;
      });
      if (is_noise) continue;
      add(std::move(made), 5);
      ++moved;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("normalization of values without rows"), std::string::npos)
          << seed << ": " << error.what();
    }
  }
  EXPECT_GT(moved, 60);
  Oracle oracle(Modules());
  ASSERT_NO_FATAL_FAILURE(oracle.Run(cases));
  Comparison all;
  for (size_t i = 0; i < cases.size(); ++i) ASSERT_NO_FATAL_FAILURE(Compare(cases[i], oracle.FolderOf(i), all));
  Print("our files", all);
  EXPECT_EQ(all.far_from_ties, 0);
  EXPECT_LE(all.differing, all.codes / 30000 + 2);
}

}  // namespace
}  // namespace steadfast
