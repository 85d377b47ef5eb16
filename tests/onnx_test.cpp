// Our model files in the hands of others: ONNX's own checker.
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>

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

}  // namespace
}  // namespace steadfast
