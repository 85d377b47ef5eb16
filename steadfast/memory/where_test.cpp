#include "steadfast/memory/where.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/memory/memory_image.h"

namespace steadfast::memory {
namespace {

constexpr int kElements = 6;

model::QuantizedModel Named(std::vector<std::string> names) {
  model::QuantizedModel model;
  for (const std::string& name : names)
    model::AddWeights(model, name, {2, 3}, {.bits = 4}, {1.0f}, {-8, -1, 0, 1, 2, 7});
  return model;
}

// The cells of `where`, as (parameter's name, element, bit), in one text.
std::string CellsOf(const std::string& where, const model::QuantizedModel& model) {
  const MemoryImage image(model, {}, ParseWhere(where));
  std::string text;
  for (int a = 0; a < static_cast<int>(image.arrays().size()); ++a) {
    const MemoryArray& array = image.arrays()[static_cast<size_t>(a)];
    int64_t failing = 0;
    for (int64_t cell = 0; cell < array.cells(); ++cell) failing += image.CanFail({a, cell});
    EXPECT_EQ(failing, image.FailingCells(a));
    text += array.name + ":" + std::to_string(failing) + " ";
  }
  return text;
}

std::string ErrorOfWhere(const std::string& where, const model::QuantizedModel& model) {
  try {
    MemoryImage(model, {}, ParseWhere(where));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Where, NamesRolesLayersAndParameters) {
  const model::QuantizedModel model = Named({"conv1.weight", "conv10.weight", "fc/kernel"});
  EXPECT_EQ(CellsOf("weights", model), "conv1.weight:24 conv10.weight:24 fc/kernel:24 ");
  EXPECT_EQ(CellsOf("conv1", model), "conv1.weight:24 conv1.weight_scale:32 ");  // a layer is all that it stores
  EXPECT_EQ(CellsOf("weights:fc", model), "fc/kernel:24 ");
  EXPECT_EQ(CellsOf("conv10.weight,weights:fc", model), "conv10.weight:24 fc/kernel:24 ");
}

// By hand: of 6 elements, two channels of three; codes -8, -1, 0, 1, 2, 7.
TEST(Where, FiltersCells) {
  const model::QuantizedModel model = Named({"a", "b"});
  EXPECT_EQ(CellsOf("a[bit=3]", model), "a:6 ");
  EXPECT_EQ(CellsOf("a[bit=msb]", model), "a:6 ");
  EXPECT_EQ(CellsOf("weights[bit=0..1|3]", model), "a:18 b:18 ");
  EXPECT_EQ(CellsOf("a[channel=1]", model), "a:12 ");
  EXPECT_EQ(CellsOf("a[code=-8..-1]", model), "a:8 ");
  EXPECT_EQ(CellsOf("a[code=7;channel=1;bit=0]", model), "a:1 ");
  EXPECT_EQ(CellsOf("a[bit=0],a[bit=1],b", model), "a:12 b:24 ");
  EXPECT_EQ(CellsOf("a[bank=0]", model), "a:24 ");
  EXPECT_EQ(CellsOf("a[bit=2..msb]", model), "a:12 ");
}

// Others' names hold commas, brackets and colons.
TEST(Where, ExactNamesWinOverTheGrammar) {
  const model::QuantizedModel model = Named({"w,1", "w", "x[bit=0]", "x", "weights:y", "y", "q\"r", "s t"});
  EXPECT_EQ(CellsOf("w,1", model), "w,1:24 ");
  EXPECT_EQ(CellsOf("w,x", model), "w:24 x:24 ");
  EXPECT_EQ(CellsOf("x[bit=0]", model), "x[bit=0]:24 ");
  EXPECT_EQ(CellsOf("x[bit=1]", model), "x:6 ");
  EXPECT_EQ(CellsOf("weights:y", model), "weights:y:24 ");
  EXPECT_EQ(CellsOf("weights:x", model), "x:24 ");
  EXPECT_EQ(CellsOf("\"w,1\"[bit=0],\"s t\"", model), "w,1:6 s t:24 ");
  EXPECT_EQ(CellsOf("q\"r", model), "q\"r:24 ");
}

TEST(Where, KeepsTheNamesOfRolesInOrder) {
  EXPECT_EQ(NameOf(ParseWhere("scales,weights,scales")), "weights,scales");
  EXPECT_EQ(NameOf(ParseWhere("all")), "weights,biases,scales,normalization,activation-scales");
  EXPECT_EQ(NameOf(ParseWhere("scales,conv1")), "scales,conv1");
}

TEST(Where, RefusesWhatIsNotThere) {
  const model::QuantizedModel model = Named({"conv1.weight"});
  EXPECT_NE(ErrorOfWhere("conv2", model).find("has no parameter or layer 'conv2'"), std::string::npos);
  EXPECT_NE(ErrorOfWhere("conv1.weigth", model).find("did you mean conv1.weight?"), std::string::npos);
  EXPECT_NE(ErrorOfWhere("biases", model).find("the model has no biases"), std::string::npos);
  EXPECT_NE(ErrorOfWhere("biases:conv1", model).find("has no biases parameter or layer 'conv1'"), std::string::npos);
  EXPECT_NE(ErrorOfWhere("conv1[bits=1]", model).find("'bits=1' is not one of bit="), std::string::npos);
  EXPECT_NE(ErrorOfWhere("conv1[bit=3..1]", model).find("bit=3..1 is empty"), std::string::npos);
  for (const char* nothing : {"conv1.weight[bit=4..7]", "conv1.weight[code=7;channel=0]", "conv1[bank=1]",
                              "weights:conv1[channel=2]", "weights,conv1.weight[bit=9]", "weights:conv1[bit=msb..2]"})
    EXPECT_NE(ErrorOfWhere(nothing, model).find("no cell is what stands in the brackets"), std::string::npos)
        << nothing;
  EXPECT_NE(ErrorOfWhere("conv1[bit=1", model).find("did not expect ''"), std::string::npos);
  EXPECT_NE(ErrorOfWhere("conv1[bit=1]x", model).find("did not expect 'x'"), std::string::npos);
  EXPECT_NE(ErrorOfWhere("weights,,x", model).find("did not expect"), std::string::npos);
  EXPECT_THROW(ParseWhere(""), UsageError);
}

}  // namespace
}  // namespace steadfast::memory
