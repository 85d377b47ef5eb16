#include "steadfast/model/onnx_file.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>

#include "steadfast/base/error.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/model_change.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void ExpectSame(const QuantizedModel& a, const QuantizedModel& b) {
  std::map<std::string, const Parameter*> of_b;
  for (const Parameter& parameter : b.parameters) of_b[parameter.name] = &parameter;
  for (const Parameter& parameter : a.parameters) {
    ASSERT_TRUE(of_b.contains(parameter.name)) << parameter.name;
    const Parameter& other = *of_b.at(parameter.name);
    ASSERT_EQ(parameter.bits, other.bits) << parameter.name;
    ASSERT_EQ(parameter.format, other.format) << parameter.name;
    ASSERT_EQ(parameter.is_fixed, other.is_fixed) << parameter.name;
    ASSERT_EQ(parameter.output_axis, other.output_axis) << parameter.name;
    ASSERT_EQ(parameter.role == Role::kWeight, other.role == Role::kWeight) << parameter.name;
  }
  ASSERT_EQ(a.parameters.size(), b.parameters.size());
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    if (!WeightOf(a.nodes[i])) continue;
    const Requantization ra = RequantizationOf(a, a.nodes[i]), rb = RequantizationOf(b, b.nodes[i]);
    ASSERT_EQ(ra.scale, rb.scale);
    ASSERT_EQ(ra.offset, rb.offset);
    ASSERT_EQ(ra.lowest, rb.lowest) << i;
    ASSERT_EQ(ra.zero_below, rb.zero_below);
    ASSERT_EQ(ra.zero_point, rb.zero_point);
  }
  ASSERT_EQ(a.metadata, b.metadata);
}

TEST(Onnx, SurvivesTheFile) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    QuantizedModel model = RandomModel(seed);
    model.metadata["steadfast.recipe"] = R"({"name": "as-saq"})";
    const std::string bytes = ToOnnx(model);
    const QuantizedModel read = FromOnnx(BytesOf(bytes), "m.onnx");
    ASSERT_NO_FATAL_FAILURE(ExpectSame(model, read)) << seed;
    const std::string again = ToOnnx(read);
    const size_t same = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), again.begin(), again.end()).first - bytes.begin());
    ASSERT_TRUE(again == bytes) << seed << " from byte " << same
                                << " on: " << bytes.substr(same > 80 ? same - 80 : 0, 160);
  }
}

onnx::TensorProto* InitializerNamed(onnx::ModelProto& proto, const std::string& name) {
  for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() == name) return &tensor;
  }
  return nullptr;
}

// One element of a scale that a quantizer shares with what dequantizes is one parameter, of two tensors two.
TEST(Onnx, HasTheScalesOfActivationsAsParameters) {
  const QuantizedModel model = FromOnnx(BytesOf(ToOnnx(RandomLeNet5(4, 4, 1))), "m.onnx");
  std::vector<std::string> names;
  for (const Parameter& parameter : model.parameters) {
    if (parameter.role == Role::kActivationScale) names.push_back(parameter.name);
    EXPECT_TRUE(names.empty() || parameter.role == Role::kActivationScale) << "behind them: " << parameter.name;
  }
  // Pooling and flattening keep what they take.
  EXPECT_EQ(names, (std::vector<std::string>{"input.scale", "conv1.codes.scale", "conv2.codes.scale", "fc1.codes.scale",
                                             "fc2.codes.scale"}));
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(ToOnnx(model)));
  auto& graph = *proto.mutable_graph();
  auto* other = graph.add_initializer();
  *other = *InitializerNamed(proto, "fc1.codes.scale");
  other->set_name("another");
  for (auto& node : *graph.mutable_node()) {
    if (node.op_type() == "DequantizeLinear" && node.input(1) == "fc1.codes.scale") node.set_input(1, "another");
  }
  QuantizedModel two = FromOnnx(BytesOf(proto.SerializeAsString()), "m.onnx");
  ASSERT_EQ(two.parameters.size(), model.parameters.size() + 1);
  // A fault in the one is not a fault in the other.
  const auto value =
      std::find_if(two.values.begin(), two.values.end(), [](const Value& v) { return v.name == "fc1.codes"; });
  const int quantizer = value->scale, dequantizer = value->dequantizing_scale;
  ASSERT_EQ(two.parameter(dequantizer).name, "another");
  const uint32_t bits = two.parameter(quantizer).bits[0];
  Apply({{{dequantizer, 0, bits, bits ^ 1u << 22}}}, two);
  EXPECT_EQ(value->coding->scale, two.parameter(quantizer).real(0));
  EXPECT_EQ(value->coding->real_scale(), two.parameter(dequantizer).real(0));
  EXPECT_NE(value->coding->real_scale(), value->coding->scale);
  Undo({{{dequantizer, 0, bits, bits ^ 1u << 22}}}, two);
  EXPECT_EQ(value->coding->dequantizing_scale, std::nullopt);
}

// Tools that keep equal constants once: weights and activations then have one scale, and a fault in it is in both.
TEST(Onnx, SharesAScaleOfWeightsWithActivations) {
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(ToOnnx(RandomLeNet5(4, 4, 1))));
  EXPECT_EQ(FromOnnx(BytesOf(proto.SerializeAsString()), "m.onnx").reading, 1);
  int shared = 0;
  for (auto& node : *proto.mutable_graph()->mutable_node()) {
    if (node.op_type() != "DequantizeLinear" || !node.input(0).ends_with(".weight")) continue;
    if (InitializerNamed(proto, node.input(1))->dims_size() > 0 || ++shared > 1) continue;
    node.set_input(1, "fc2.codes.scale");
  }
  ASSERT_GT(shared, 0);
  QuantizedModel model = FromOnnx(BytesOf(proto.SerializeAsString()), "m.onnx");
  EXPECT_EQ(model.reading, 3);  // earlier versions took a fault in it for one of the weights' scale alone
  const auto found = std::find_if(model.parameters.begin(), model.parameters.end(),
                                  [](const Parameter& p) { return p.name == "fc2.codes.scale"; });
  ASSERT_NE(found, model.parameters.end());
  EXPECT_EQ(found->role, Role::kScale);
  const int index = static_cast<int>(found - model.parameters.begin());
  Apply({{{index, 0, found->bits[0], found->bits[0] ^ 1u << 23}}}, model);
  EXPECT_EQ(model.values[static_cast<size_t>(model.nodes.back().input())].coding->scale,
            model.parameter(index).real(0));
}

// A result with channels last, taken for one with channels first: the same sizes, other elements.
TEST(Onnx, RefusesToReshapeMovedAxes) {
  RandomGraph graph(3);
  graph.model.values.push_back({"input", {2, 2, 2}, ActivationCoding{.scale = 0.01f}});
  const int normal = graph.AddNode("normal", {"", LayerNormalization{}, {0}, 0}, ActivationCoding{.scale = 0.02f});
  graph.model.output = graph.AddLinear(normal, "last", 3, {.bits = 4}, true);
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(ToOnnx(graph.model)));
  const auto read = [&] { return FromOnnx(BytesOf(proto.SerializeAsString()), "moved.onnx"); };
  EXPECT_NO_THROW(read());
  for (auto& node : *proto.mutable_graph()->mutable_node()) {
    if (node.op_type() != "Transpose" || node.input(0) != "normal.normalized") continue;
    node.set_input(0, "normal.shaped");
    auto* sizes = proto.mutable_graph()->add_initializer();
    sizes->set_name("sizes");
    sizes->set_data_type(onnx::TensorProto::INT64);
    sizes->add_dims(4);
    for (const int64_t size : {0, 2, 2, 2}) sizes->add_int64_data(size);
  }
  onnx::NodeProto shaped;
  shaped.set_op_type("Reshape");
  shaped.add_input("normal.normalized");
  shaped.add_input("sizes");
  shaped.add_output("normal.shaped");
  auto& nodes = *proto.mutable_graph()->mutable_node();
  *nodes.Add() = shaped;
  int place = nodes.size() - 1;
  while (place > 0 && (nodes[place - 1].output(0) != "normal.normalized")) {
    nodes.SwapElements(place, place - 1);
    --place;
  }
  EXPECT_THROW(read(), InputError);
}

TEST(Onnx, NeverCrashesOnDamagedFiles) {
  const std::string good = ToOnnx(RandomModel(12));
  std::mt19937_64 random(1);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    for (uint64_t k = 0; k <= random() % 4; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (i % 5 == 0) bytes.resize(random() % bytes.size());
    try {
      Validate(FromOnnx(BytesOf(bytes), "damaged.onnx"));
    } catch (const InputError& error) {
      ASSERT_EQ(std::string(error.what()).find("damaged.onnx: "), 0u);
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

// The file of a small network with one thing made hostile.
std::string MessageAfter(const std::function<void(onnx::ModelProto&)>& change) {
  onnx::ModelProto proto;
  proto.ParseFromString(ToOnnx(RandomLeNet5(4, 4, 1)));
  change(proto);
  try {
    FromOnnx(BytesOf(proto.SerializeAsString()), "h.onnx");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

onnx::NodeProto* NodeOf(onnx::ModelProto& proto, const std::string& type) {
  for (auto& node : *proto.mutable_graph()->mutable_node()) {
    if (node.op_type() == type) return &node;
  }
  return nullptr;
}

TEST(Onnx, RefusesHostileShapes) {
  EXPECT_NE(MessageAfter([](onnx::ModelProto& proto) {
              auto* weight = InitializerNamed(proto, "conv1.weight");  // nothing in it, and 2^33 outputs
              weight->set_dims(0, int64_t{1} << 33);
              weight->set_dims(1, 0);
              weight->set_raw_data("");
            }).find("have a dimension of 0"),
            std::string::npos);
  EXPECT_NE(MessageAfter([](onnx::ModelProto& proto) {
              auto* shape =
                  proto.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
              for (int d = 1; d < 4; ++d) shape->mutable_dim(d)->set_dim_value(int64_t{1} << 40);
            }).find("has a dimension of 1099511627776"),
            std::string::npos);
  EXPECT_NE(MessageAfter([](onnx::ModelProto& proto) {
              InitializerNamed(proto, "conv1.bias")->mutable_dims()->Truncate(1);
            }).find("expected one value a channel: [6, 1, 1]"),
            std::string::npos);
}

TEST(Onnx, RefusesWhatWouldMultiplyMemory) {
  EXPECT_NE(MessageAfter([](onnx::ModelProto& proto) {
              auto* again = proto.mutable_graph()->add_node();
              again->CopyFrom(*NodeOf(proto, "Add"));
              again->set_output(0, "other");
            }).find("is used by another node too"),
            std::string::npos);
  // A second use of the same codes is the same parameter, and must be dequantized in the same way.
  EXPECT_NE(MessageAfter([](onnx::ModelProto& proto) {
              for (auto& node : *proto.mutable_graph()->mutable_node()) {
                if (node.op_type() != "DequantizeLinear" || node.input(0) != "conv1.weight") continue;
                onnx::NodeProto again = node;
                again.set_output(0, "other");
                again.set_input(1, "conv2.weight_scale");
                *proto.mutable_graph()->add_node() = again;
                break;
              }
            }).find("dequantizes 'conv1.weight' a second time, with another scale"),
            std::string::npos);
}

TEST(Onnx, BoundsNestedMetadata) {
  const std::string deep(300000, '[');
  for (const char* key : {"steadfast.tensors", "steadfast.sparsity"}) {
    MessageAfter([&](onnx::ModelProto& proto) {
      for (auto& entry : *proto.mutable_metadata_props()) {
        if (entry.key() == key) entry.set_value(deep);
      }
    });
  }
  QuantizedModel model = RandomLeNet5(4, 4, 1);
  model.metadata["steadfast.sparsity"] = deep;
  EXPECT_TRUE(MetadataJson(model, "steadfast.sparsity").is_null());
  EXPECT_EQ(Summarize(model).size(), 8u);
  EXPECT_EQ(ParseBoundedJson(R"({"a": [1, {"b": 2}]})")["a"][1]["b"], 2);
}

TEST(Onnx, ScalesPerChannelNeedOpset13) {
  int tried = 0;
  for (uint64_t seed = 0; tried < 5; ++seed) {
    const QuantizedModel model = RandomModel(seed);
    const auto& parameters = model.parameters;
    const bool per_channel = std::any_of(parameters.begin(), parameters.end(), [&](const Parameter& p) {
      return p.role == Role::kWeight && model.parameter(p.scale).elements() > 1;
    });
    onnx::ModelProto proto;
    ASSERT_TRUE(proto.ParseFromString(ToOnnx(model)));
    auto& nodes = *proto.mutable_graph()->mutable_node();
    const bool newer =
        std::any_of(nodes.begin(), nodes.end(), [](const onnx::NodeProto& n) { return n.op_type() == "HardSwish"; });
    if (!per_channel || newer) continue;
    ++tried;
    proto.mutable_opset_import(0)->set_version(12);
    for (auto& node : nodes) {
      if (node.op_type() == "DequantizeLinear") node.clear_attribute();
    }
    try {
      FromOnnx(BytesOf(proto.SerializeAsString()), "x.onnx");
      ADD_FAILURE() << seed;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("has several scales, which opset 13 brought"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Onnx, SaysWhatItIsNot) {
  try {
    FromOnnx(BytesOf("not a model"), "x.onnx");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("x.onnx: is not an ONNX model"), std::string::npos);
  }
}

}  // namespace
}  // namespace steadfast::model
