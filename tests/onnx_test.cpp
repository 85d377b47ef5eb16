// Our model files in the hands of others: ONNX's own checker, and ONNX Runtime where it is present.
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/data/dataset.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/scores.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

TEST(Onnx, PassesTheChecker) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    onnx::ModelProto proto;
    ASSERT_TRUE(proto.ParseFromString(model::ToOnnx(model::RandomModel(seed))));
    ASSERT_NO_THROW(onnx::checker::check_model(proto)) << seed;
  }
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(model::ToOnnx(model::RandomLeNet5(4, 4, 1))));
  EXPECT_NO_THROW(onnx::checker::check_model(proto));
}

// A copy of the model file that gives all codes as outputs too.
std::string WithCodesAsOutputs(const model::QuantizedModel& model, std::vector<int>& coded) {
  onnx::ModelProto proto;
  proto.ParseFromString(model::ToOnnx(model));
  for (const auto& node : model.nodes) {
    const auto& value = model.values[static_cast<size_t>(node.output)];
    if (!value.coding || node.operation.definition().keeps_coding) continue;
    auto* output = proto.mutable_graph()->add_output();
    output->set_name(value.name);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::UINT8);
    coded.push_back(node.output);
  }
  return proto.SerializeAsString();
}

struct Comparison {
  int64_t codes = 0, differing_codes = 0, images = 0, differing_predictions = 0;
  int64_t not_ties = 0;  // differing predictions whose two logits are not equal in our arithmetic
};

Comparison CompareWithOnnxRuntime(const fs::path& modules, const model::QuantizedModel& model,
                                  std::span<const uint8_t> images) {
  const fs::path folder = fs::path(testing::TempDir()) / "steadfast_onnxruntime";
  fs::remove_all(folder);
  fs::create_directories(folder / "out");
  std::vector<int> coded;
  WriteFileWhole(folder / "m.onnx", WithCodesAsOutputs(model, coded));
  WriteFileWhole(folder / "images", {reinterpret_cast<const char*>(images.data()), images.size()});
  const auto& input = model.values[0].shape;
  const auto n = static_cast<int64_t>(images.size()) / input.elements();
  std::string shape = std::to_string(n) + "x" + std::to_string(input.channels);
  if (!input.flat) shape += "x" + std::to_string(input.height) + "x" + std::to_string(input.width);
  const auto result =
      RunProcess("/usr/bin/env",
                 {"node", std::string(STEADFAST_SOURCE_DIR) + "/tests/onnxruntime_run.cjs", modules.string(),
                  (folder / "m.onnx").string(), (folder / "images").string(), shape, (folder / "out").string()},
                 [](std::string_view) {});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  if (result.exit_code != 0) return {};

  engine::Trace trace;
  const auto logits = engine::RunReference(model, images, &trace);
  Comparison comparison;
  for (int value : coded) {
    const auto theirs = ReadFile(folder / "out" / model.values[static_cast<size_t>(value)].name);
    const auto& ours = trace.codes[static_cast<size_t>(value)];
    EXPECT_EQ(theirs.size(), ours.size());
    for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i)
      comparison.differing_codes += ours[i] != theirs[i];
    comparison.codes += static_cast<int64_t>(ours.size());
  }
  const auto bytes = ReadFile(folder / "out" / "logits");
  std::vector<float> theirs(bytes.size() / sizeof(float));
  std::memcpy(theirs.data(), bytes.data(), theirs.size() * sizeof(float));
  EXPECT_EQ(theirs.size(), logits.size());
  const auto classes = static_cast<size_t>(model.classes());
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i) * classes;
    const auto mine = std::span(logits).subspan(at, classes);
    const auto a = static_cast<size_t>(engine::ArgMax(mine)),
               b = static_cast<size_t>(engine::ArgMax(std::span(theirs).subspan(at, classes)));
    comparison.differing_predictions += a != b;
    // Integer sums tie exactly where float sums do not quite.
    comparison.not_ties += mine[a] - mine[b] > 1e-5f * std::max(1.0f, std::abs(mine[a]));
  }
  comparison.images = n;
  fs::remove_all(folder);
  return comparison;
}

// Floats summed in another order may fall to the other side of a rounding boundary: codes need not agree everywhere.
TEST(OnnxRuntime, GivesTheSameCodesAndPredictions) {
  const char* modules = std::getenv("STEADFAST_ONNXRUNTIME");
  if (modules == nullptr)
    GTEST_SKIP() << "no ONNX Runtime: set STEADFAST_ONNXRUNTIME to a node_modules folder with onnxruntime-node";
  const model::QuantizedModel lenet = model::RandomLeNet5(4, 4, 1);
  auto images = model::RandomImages(lenet, 500, 2);
  if (data::FindDataset("fashion-mnist", {})) {
    const data::ImageSet test = data::LoadDataset("fashion-mnist", {}, data::Split::kTest);
    images.assign(test.images.begin(), test.images.begin() + 500 * 784);
  }
  Comparison all = CompareWithOnnxRuntime(modules, lenet, images);
  EXPECT_LE(all.differing_codes, all.codes / 1000);
  EXPECT_EQ(all.not_ties, 0);
  std::printf("LeNet-5: %lld of %lld codes and %lld of %lld predictions differ from ONNX Runtime's\n",
              static_cast<long long>(all.differing_codes), static_cast<long long>(all.codes),
              static_cast<long long>(all.differing_predictions), static_cast<long long>(all.images));
  // A trained model, where one is named.
  if (const char* trained = std::getenv("STEADFAST_TRAINED_MODEL")) {
    const Comparison c = CompareWithOnnxRuntime(modules, model::ReadModel(trained), images);
    EXPECT_LE(c.differing_codes, c.codes / 1000);
    EXPECT_EQ(c.not_ties, 0);
    std::printf("%s: %lld of %lld codes and %lld of %lld predictions differ from ONNX Runtime's\n", trained,
                static_cast<long long>(c.differing_codes), static_cast<long long>(c.codes),
                static_cast<long long>(c.differing_predictions), static_cast<long long>(c.images));
  }
  Comparison random;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const auto model = model::RandomModel(seed);
    if (model.values[static_cast<size_t>(model.output)].name != "logits" || model.values[0].shape.flat) continue;
    const Comparison c = CompareWithOnnxRuntime(modules, model, model::RandomImages(model, 50, seed));
    random.codes += c.codes;
    random.differing_codes += c.differing_codes;
  }
  std::printf("random graphs: %lld of %lld codes differ\n", static_cast<long long>(random.differing_codes),
              static_cast<long long>(random.codes));
  EXPECT_LE(random.differing_codes, random.codes / 1000 + 5);
}

}  // namespace
}  // namespace steadfast
