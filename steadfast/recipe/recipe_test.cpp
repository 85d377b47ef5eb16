#include "steadfast/recipe/recipe.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast::recipe {
namespace {

TEST(Recipe, SurvivesJson) {
  Recipe recipe;
  recipe.name = "as-saq";
  recipe.narrow = true;
  ParseSparsity("l1:1e-4", recipe);
  ParseSharpness("saq:0.1", recipe);
  ParseSchedule("step:3,5", recipe);
  ParseLayerBits("conv1=8/4", recipe);
  ParsePerturbed("biases,weight-steps", recipe);
  EXPECT_EQ(FromJson(ToJson(recipe)), recipe);
}

TEST(Recipe, HashLeavesTheNameOut) {
  Recipe a, b;
  b.name = "other";
  EXPECT_EQ(HashOf(a), HashOf(b));
  b.seed = 1;
  EXPECT_NE(HashOf(a), HashOf(b));
}

TEST(Recipe, RefusesWhatCannotBe) {
  Recipe recipe;
  recipe.weight_bits = 1;
  EXPECT_THROW(Validate(recipe), UsageError);  // signed LSQ of one bit does not exist
  recipe.quantizer = Quantizer::kLiq;
  EXPECT_NO_THROW(Validate(recipe));
  recipe.narrow = true;
  EXPECT_THROW(Validate(recipe), UsageError);
  Recipe saq;
  saq.quantizer = Quantizer::kFloat;
  ParseSharpness("saq:0.1", saq);
  EXPECT_THROW(Validate(saq), UsageError);
}

TEST(Recipe, NamesUnknownKeysAndWrongTypes) {
  const auto message = [](const nlohmann::json& json) {
    try {
      FromJson(json);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message({{"epoch", 3}}), "recipe: unknown key 'epoch' (did you mean epochs?)");
  EXPECT_NE(message({{"epochs", "three"}}).find("epochs: \"three\""), std::string::npos);
  EXPECT_NE(message({{"sharpness", "saq"}}).find("saq:NUMBER"), std::string::npos);
}

}  // namespace
}  // namespace steadfast::recipe
