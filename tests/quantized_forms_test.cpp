// ONNX files in other forms than QDQ: that they are read, run by every path of the engine as the scalar rules say, and run
// so by ONNX Runtime, faults included.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstdio>
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
#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/changed_file.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"
#include "tests/onnx_styles.h"
#include "tests/qoperator_networks.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;
using model::QuantizedModel;

constexpr int64_t kImages = 70;

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
QuantizedModel Read(const std::string& bytes) {
  return model::FromOnnx(BytesOf(bytes), "made.onnx");
}

std::vector<uint16_t> SomeLabels(const QuantizedModel& model, int64_t images) {
  std::vector<uint16_t> labels;
  for (int64_t i = 0; i < images; ++i) labels.push_back(static_cast<uint16_t>(i % model.classes()));
  return labels;
}

TEST(QOperator, IsReadWithItsOwnTensors) {
  const QOperatorNetwork network = MakeQOperatorNetwork(1);
  const QuantizedModel model = Read(network.bytes);
  EXPECT_EQ(model.profile, model::Profile::kOrt);
  EXPECT_TRUE(model.format.starts_with("ONNX (QOperator)")) << model.format;
  int biases = 0;
  for (const model::Parameter& parameter : model.parameters) {
    if (parameter.role == model::Role::kBias) {
      ++biases;
      EXPECT_EQ(parameter.scale, -1);
    }
  }
  EXPECT_GT(biases, 0);
}

class FormsOnSets : public engine::OnInstructionSet {};
INSTANTIATE_TEST_SUITE_P(InstructionSets, FormsOnSets, testing::ValuesIn(engine::SetsToTry()), engine::SetName);

// Under both profiles of ONNX files: networks of QOperator form, and of QDQ form in many styles.
TEST_P(FormsOnSets, EveryPathEqualsTheReferenceUnderChanges) {
  std::mt19937_64 random(3);
  const uint64_t networks = engine::GraphsToTry(48);
  for (uint64_t seed = 0; seed < networks; ++seed) {
    const StyledModel styled = MakeStyledModel(seed);
    const bool is_styled = seed % 3 == 2;
    if (is_styled && !styled.refused_for.empty()) continue;
    QuantizedModel model = Read(is_styled ? styled.bytes : MakeQOperatorNetwork(seed).bytes);
    if (is_styled) model.profile = model::Profile::kOrt;
    if (seed % 6 == 1) model.profile = model::Profile::kOnnx;
    const std::vector<uint8_t> images = model::RandomImages(model, kImages, seed);
    const std::vector<uint16_t> labels = SomeLabels(model, kImages);
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model, images, labels);
    const engine::Golden golden = engine::RunGolden(model, set, 1);
    const auto classes = static_cast<int>(model.classes());
    ASSERT_EQ(golden.scores, engine::ScoreOf(engine::RunReference(model, images), classes, labels, {})) << seed;
    const auto run = engine::MakeGoldenRun(engine::DifferentialPlan(model, GetParam()), set, 1);
    engine::Evaluator evaluator(model, set, run, GetParam());
    for (const int count : {1, 1, 3, 20}) {
      const model::ModelChange change = engine::RandomChange(model, count, random);
      QuantizedModel changed = model;
      Apply(change, changed);
      const engine::Scores expected =
          engine::ScoreOf(engine::RunReference(changed, images), classes, labels, golden.predictions);
      ASSERT_EQ(evaluator.EvaluateDensely(change, golden), expected) << "network " << seed;
      ASSERT_EQ(evaluator.EvaluateDifferentially(change, golden), expected) << "network " << seed;
    }
  }
}

// ---- ONNX Runtime ----

std::string Modules() {
  const char* modules = std::getenv("STEADFAST_ONNXRUNTIME");
  return modules != nullptr ? modules : STEADFAST_ONNXRUNTIME_MODULES;
}
#define SKIP_WITHOUT_ORACLE()                                 \
  if (!fs::exists(fs::path(Modules()) / "onnxruntime-web"))   \
  GTEST_SKIP() << "no ONNX Runtime for the web in " << Modules() \
               << ": STEADFAST_ORACLE=ON tools/install-dependencies gets it from npm"

int64_t CountFrom(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : ParseInt(text, variable, 1, 1'000'000);
}

// A file to run, and what it is held to.
struct Case {
  std::string name, bytes;
  std::vector<std::string> tensors;  // of codes, which the file gets as outputs
  QuantizedModel model;
  std::vector<uint8_t> codes;  // of the input [n, elements]
  std::string level = "disabled";
};

std::string WithOutputs(const Case& c) {
  onnx::ModelProto proto;
  proto.ParseFromString(c.bytes);
  for (const std::string& name : c.tensors) {
    auto* output = proto.mutable_graph()->add_output();
    output->set_name(name);
    for (const model::Value& value : c.model.values) {
      if (value.name == name && value.coding)
        output->mutable_type()->mutable_tensor_type()->set_elem_type(
            value.coding->is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8);
    }
  }
  return proto.SerializeAsString();
}

void RunOracle(const std::vector<Case>& cases, const fs::path& folder) {
  nlohmann::json jobs = nlohmann::json::array();
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const fs::path own = folder / std::to_string(i);
    fs::create_directories(own);
    WriteFileWhole(own / "m.onnx", WithOutputs(c));
    const model::Value& input = c.model.value(0);
    std::vector<int64_t> dims = {static_cast<int64_t>(c.codes.size()) / input.shape.elements(), input.shape.channels};
    if (!input.shape.flat) dims.insert(dims.end(), {input.shape.height, input.shape.width});
    std::string raw;
    for (const uint8_t code : c.codes) {
      if (c.model.real_input) {
        const float real = model::RealOf(code, *input.coding);
        raw.append(reinterpret_cast<const char*>(&real), sizeof(real));
      } else {
        raw.push_back(static_cast<char>(code + input.coding->stored_offset()));
      }
    }
    WriteFileWhole(own / "input", raw);
    const char* type = c.model.real_input ? "float32" : input.coding->is_signed ? "int8" : "uint8";
    jobs.push_back({{"model", (own / "m.onnx").string()},
                    {"input", (own / "input").string()},
                    {"type", type},
                    {"dims", dims},
                    {"runtime", "web"},
                    {"level", c.level},
                    {"out", own.string()}});
  }
  WriteFileWhole(folder / "jobs.json", jobs.dump());
  const auto result = RunProcess(
      "/usr/bin/env",
      {"node", std::string(STEADFAST_SOURCE_DIR) + "/tests/onnxruntime_run.cjs", Modules(), (folder / "jobs.json").string()},
      [](std::string_view) {});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
}

// All values of a network on all images, by the scalar rules from the input alone: codes as files have them, or reals.
std::vector<std::string> ValuesOf(const QuantizedModel& m, const std::vector<uint8_t>& images) {
  std::vector<std::vector<uint8_t>> codes(m.values.size());
  std::vector<std::string> stored(m.values.size());
  codes[0] = images;
  const auto n = static_cast<int64_t>(images.size()) / m.value(0).shape.elements();
  for (const model::Node& node : m.nodes) {
    const model::Value& output = m.value(node.output);
    const auto elements = static_cast<size_t>(output.shape.elements());
    const auto rule = node.operation.definition().scalar_rule(m, node);
    auto& own = codes[static_cast<size_t>(node.output)];
    own.resize(static_cast<size_t>(n) * elements);
    std::vector<float> reals(elements);
    for (int64_t i = 0; i < n; ++i) {
      std::vector<std::span<const uint8_t>> inputs;
      for (const int input : node.inputs) {
        const auto size = static_cast<size_t>(m.value(input).shape.elements());
        inputs.push_back(std::span(codes[static_cast<size_t>(input)]).subspan(static_cast<size_t>(i) * size, size));
      }
      rule(inputs, std::span(own).subspan(static_cast<size_t>(i) * elements, elements), reals);
      if (!output.coding)
        stored[static_cast<size_t>(node.output)].append(reinterpret_cast<const char*>(reals.data()),
                                                        reals.size() * sizeof(float));
    }
  }
  for (size_t v = 0; v < m.values.size(); ++v) {
    if (!m.values[v].coding) continue;
    for (const uint8_t code : codes[v]) stored[v].push_back(static_cast<char>(code + m.values[v].coding->stored_offset()));
  }
  return stored;
}

struct Comparison {
  int64_t files = 0, refused = 0, codes = 0, differing = 0;
};

// Every tensor of codes, each computed by us from the input alone.
void Compare(const Case& c, const fs::path& folder, Comparison& comparison) {
  ++comparison.files;
  if (fs::exists(folder / "error")) {
    ++comparison.refused;
    ADD_FAILURE() << c.name << ": " << ReadTextFile(folder / "error");
    return;
  }
  const auto values = ValuesOf(c.model, c.codes);
  for (size_t v = 0; v < c.model.values.size(); ++v) {
    const model::Value& value = c.model.values[v];
    const bool is_asked = std::find(c.tensors.begin(), c.tensors.end(), value.name) != c.tensors.end();
    if (!is_asked) continue;
    const std::string theirs = ReadTextFile(folder / value.name);
    ASSERT_EQ(theirs.size(), values[v].size()) << c.name << " " << value.name;
    int64_t differing = 0;
    for (size_t i = 0; i < theirs.size(); ++i) differing += theirs[i] != values[v][i];
    comparison.codes += static_cast<int64_t>(theirs.size());
    comparison.differing += differing;
    EXPECT_EQ(differing, 0) << c.name << " " << value.name << ": " << differing << " of " << theirs.size();
  }
}

void Print(const char* what, const Comparison& c) {
  std::printf("%s: %lld files, %lld of %lld codes differ from ONNX Runtime's\n", what, static_cast<long long>(c.files),
              static_cast<long long>(c.differing), static_cast<long long>(c.codes));
}

TEST(OnnxRuntimeForms, AgreesOnQOperatorNetworks) {
  SKIP_WITHOUT_ORACLE();
  const int64_t networks = CountFrom("STEADFAST_ORACLE_GRAPHS", 60);
  std::vector<Case> cases;
  for (int64_t seed = 0; seed < networks; ++seed) {
    const QOperatorNetwork network = MakeQOperatorNetwork(static_cast<uint64_t>(seed));
    Case c{fmt::format("network {}", seed), network.bytes, network.codes, Read(network.bytes), {}};
    c.codes = model::RandomImages(c.model, 6, static_cast<uint64_t>(seed));
    c.level = seed % 2 == 0 ? "disabled" : "all";
    cases.push_back(std::move(c));
  }
  const TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(RunOracle(cases, folder.path()));
  Comparison all;
  for (size_t i = 0; i < cases.size(); ++i)
    ASSERT_NO_FATAL_FAILURE(Compare(cases[i], folder.path() / std::to_string(i), all));
  Print("QOperator", all);
  EXPECT_GT(all.codes, networks * 500);
}

}  // namespace
}  // namespace steadfast
