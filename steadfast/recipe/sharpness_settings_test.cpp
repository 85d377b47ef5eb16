#include "steadfast/recipe/sharpness_settings.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast::recipe {
namespace {

TEST(SharpnessSettings, AreTheSameThroughJson) {
  SharpnessSettings settings;
  settings.images = 17;
  settings.seed = uint64_t{1} << 62;
  settings.relative_radii = {0.3};
  settings.plane_points = 0;
  EXPECT_EQ(SharpnessSettingsFromJson(ToJson(settings)), settings);
  EXPECT_EQ(SharpnessSettingsFromJson(nlohmann::json::object()), SharpnessSettings{});
  EXPECT_NE(HashOf(settings), HashOf(SharpnessSettings{}));
}

TEST(SharpnessSettings, WhatIsWrongIsNamed) {
  const auto message = [](const nlohmann::json& json) {
    try {
      SharpnessSettingsFromJson(json);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message({{"imags", 10}}).find("did you mean images"), std::string::npos);
  EXPECT_NE(message({{"images", 0}}).find("images: 0 is outside"), std::string::npos);
  EXPECT_NE(message({{"images", 1.5}}).find("images: 1.5"), std::string::npos);
  EXPECT_NE(message({{"radii", 3}}).find("radii: expected a list"), std::string::npos);
  EXPECT_NE(message({{"radii", {"x"}}}).find("radii"), std::string::npos);
  EXPECT_NE(message({{"fault_rates", {2.0}}}).find("fault_rates: 2"), std::string::npos);
}

}  // namespace
}  // namespace steadfast::recipe
