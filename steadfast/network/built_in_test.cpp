#include "steadfast/network/built_in.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/network/find.h"
#include "steadfast/network/fusion.h"

namespace steadfast::network {
namespace {

// Parameters and multiply-accumulates, counted by hand or as the papers and common implementations give them.
TEST(BuiltIn, HasThePublishedSizes) {
  struct Size {
    const char* name;
    int64_t parameters, macs;
  };
  for (const Size& size :
       {Size{"lenet5", 61706, 416520}, Size{"mlp", 269322, 268800}, Size{"resnet8", 78042, 12501632},
        Size{"resnet20", 272474, 40813184}, Size{"resnet18", 11173962, 555422720}, Size{"vgg11", 9228362, 152769536},
        Size{"mobilenetv2", 2236682, 87976448}, Size{"dscnn", 23180, 2656768}, Size{"vit", 207178, 16188032}}) {
    for (const BuiltIn& known : BuiltIns()) {
      if (known.name != size.name) continue;
      const FloatGraph graph = MakeBuiltIn(known.name, known.input, known.classes);
      EXPECT_EQ(ParameterCount(graph), size.parameters) << size.name;
      EXPECT_EQ(MacsOf(graph), size.macs) << size.name;
      EXPECT_EQ(graph.classes(), known.classes);
    }
  }
}

TEST(BuiltIn, AllHaveAFormOnIntegerCodes) {
  for (const BuiltIn& known : BuiltIns()) {
    const FloatGraph graph = MakeBuiltIn(known.name, known.input, known.classes);
    const auto steps = Fuse(graph);
    EXPECT_EQ(steps.back().range, OutputRange::kReal) << known.name;
    for (const FusedStep& step : steps) EXPECT_EQ(step.output == graph.output, step.range == OutputRange::kReal);
  }
}

TEST(BuiltIn, TakesForms) {
  // As many weights as the other form: only normalizations move.
  const FloatGraph preact = MakeBuiltIn("resnet20:preact", {3, 32, 32}, 10);
  const auto weights = [](const FloatGraph& graph) {
    int64_t count = 0;
    for (const FloatNode& node : graph.nodes) {
      if (WeightOf(node) >= 0) count += graph.parameter(WeightOf(node)).elements();
    }
    return count;
  };
  EXPECT_EQ(weights(preact), weights(MakeBuiltIn("resnet20", {3, 32, 32}, 10)));
  EXPECT_EQ(MacsOf(preact), 40813184);
  const auto steps = Fuse(preact);
  const auto alone = std::count_if(steps.begin(), steps.end(), [&](const FusedStep& step) {
    return step.normalization && WeightOf(preact.nodes[static_cast<size_t>(step.node)]) < 0;
  });
  EXPECT_EQ(alone, 10);  // one in front of each block, and the last
  const FloatGraph vit = MakeBuiltIn("vit:depth=2,token=class", {1, 28, 28}, 10);
  EXPECT_EQ(vit.value(vit.nodes.back().inputs[0]).shape.channels, 64);
  EXPECT_EQ(ParameterCount(vit) - ParameterCount(MakeBuiltIn("vit:depth=2", {1, 28, 28}, 10)), 2 * 64);
  EXPECT_THROW(MakeBuiltIn("vit:token=none", {1, 28, 28}, 10), UsageError);
  const auto relus = [](const FloatGraph& graph) {
    return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                         [](const FloatNode& node) { return std::holds_alternative<Clip>(node.operation); });
  };
  EXPECT_EQ(relus(vit), 0);
  EXPECT_EQ(relus(MakeBuiltIn("vit:depth=2,activation=relu", {1, 28, 28}, 10)), 2);
  EXPECT_THROW(MakeBuiltIn("vit:activation=none", {1, 28, 28}, 10), UsageError);
}

TEST(BuiltIn, TakesWidths) {
  const FloatGraph half = MakeBuiltIn("mobilenetv2:0.5", {3, 32, 32}, 10),
                   whole = MakeBuiltIn("mobilenetv2", {3, 32, 32}, 10);
  EXPECT_LT(MacsOf(half), MacsOf(whole) / 3);
  EXPECT_EQ(half.name, "mobilenetv2:0.5");
  EXPECT_THROW(MakeBuiltIn("resnet20:0.5", {3, 32, 32}, 10), UsageError);
  EXPECT_THROW(MakeBuiltIn("mobilenetv2:wide", {3, 32, 32}, 10), UsageError);
}

std::string MessageOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(BuiltIn, SaysWhatIsWrong) {
  EXPECT_NE(MessageOf([] { CheckNetwork("resnet9", {}); }).find("did you mean resnet8?"), std::string::npos);
  EXPECT_NE(MessageOf([] { CheckNetwork("nowhere.onnx", {}); }).find("there is no file nowhere.onnx"),
            std::string::npos);
  EXPECT_NE(MessageOf([] { MakeBuiltIn("lenet5", {1, 30, 30}, 10); }).find("30 x 30"), std::string::npos);
  EXPECT_NE(MessageOf([] { MakeBuiltIn("vgg11", {3, 16, 16}, 10); }).find("32 x 32"), std::string::npos);
  EXPECT_EQ(MessageOf([] { CheckNetwork("resnet8", {"conv1", "stage3.block1.add"}); }), "");
  EXPECT_NE(MessageOf([] {
              CheckNetwork("lenet5", {"conv9"});
            }).find("lenet5 has no layer 'conv9'; its layers are conv1, conv2"),
            std::string::npos);
}

}  // namespace
}  // namespace steadfast::network
