// Our model files in the hands of others: ONNX's own checker.
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

namespace steadfast {
namespace {

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

// A model with levels that are shifted, its file, and the index of that weight.
onnx::ModelProto ShiftedFile(int& parameter, model::QuantizedModel& shifted) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    shifted = model::RandomModel(seed);
    for (size_t p = 0; p < shifted.parameters.size(); ++p) {
      if (shifted.parameters[p].role != model::Role::kWeight || shifted.parameters[p].format.codes.levels.offset == 0)
        continue;
      parameter = static_cast<int>(p);
      onnx::ModelProto proto;
      proto.ParseFromString(model::ToOnnx(shifted));
      return proto;
    }
  }
  throw std::logic_error("no random model has shifted levels");
}

model::QuantizedModel Read(const onnx::ModelProto& proto) {
  const std::string bytes = proto.SerializeAsString();
  return model::FromOnnx({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "m.onnx");
}

TEST(Onnx, AShiftAddsToTheZeroPoint) {
  int index = 0;
  model::QuantizedModel shifted;
  onnx::ModelProto proto = ShiftedFile(index, shifted);
  const model::Parameter& weight = shifted.parameter(index);
  for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() == weight.name + "_zero_point") tensor.set_raw_data(std::string(tensor.raw_data().size(), 1));
  }
  const model::LevelMap& levels = weight.format.codes.levels;
  const model::QuantizedModel read = Read(proto);
  for (const auto& parameter : read.parameters) {
    if (parameter.name != weight.name) continue;
    EXPECT_EQ(parameter.format.codes.levels.offset, levels.offset - levels.multiplier);
  }
}

TEST(Onnx, AShiftIsOneValueAnOutputAndOfAllUses) {
  int index = 0;
  model::QuantizedModel shifted;
  const onnx::ModelProto proto = ShiftedFile(index, shifted);
  const std::string name = shifted.parameter(index).name;
  EXPECT_NO_THROW(Read(proto));
  onnx::ModelProto other_shape = proto;
  for (auto& tensor : *other_shape.mutable_graph()->mutable_initializer()) {
    if (tensor.name() == name + "_shift") {
      for (int64_t i = 0; i < 5; ++i) tensor.add_dims(1);
    }
  }
  EXPECT_THROW(Read(other_shape), InputError);
  onnx::ModelProto used_twice = proto;
  for (const auto& node : proto.graph().node()) {
    if (node.op_type() != "DequantizeLinear" || node.input(0) != name) continue;
    auto* second = used_twice.mutable_graph()->add_node();
    *second = node;
    second->set_output(0, name + "_again");
  }
  EXPECT_THROW(Read(used_twice), InputError);
}

}  // namespace
}  // namespace steadfast
