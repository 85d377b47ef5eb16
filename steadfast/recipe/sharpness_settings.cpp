#include "steadfast/recipe/sharpness_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"

namespace steadfast::recipe {
namespace {

using nlohmann::json;

// Calls visit(key, member, lowest, highest) for every setting.
template <typename Settings, typename Visit>
void ForEach(Settings& s, Visit visit) {
  constexpr double kMany = 1e9;
  visit("images", s.images, 1, kMany);
  visit("seed", s.seed, 0, 9e18);
  visit("radii", s.radii, 0, 1e6);
  visit("relative_radii", s.relative_radii, 0, 1e6);
  visit("adaptive_radii", s.adaptive_radii, 0, 1e6);
  visit("random_relative_radii", s.random_relative_radii, 0, 1e6);
  visit("ascent_steps", s.ascent_steps, 1, kMany);
  visit("restarts", s.restarts, 1, kMany);
  visit("draws", s.draws, 1, kMany);
  visit("fault_rates", s.fault_rates, 0, 1);
  visit("fault_trials", s.fault_trials, 1, kMany);
  visit("fault_images", s.fault_images, 1, kMany);
  visit("eigenvalues", s.eigenvalues, 0, 1000);
  visit("lanczos_steps", s.lanczos_steps, 1, 10000);
  visit("layer_steps", s.layer_steps, 0, 10000);
  visit("density_probes", s.density_probes, 0, kMany);
  visit("density_steps", s.density_steps, 1, 10000);
  visit("trace_probes", s.trace_probes, 0, kMany);
  visit("surface_points", s.surface_points, 0, 10001);
  visit("plane_points", s.plane_points, 0, 1001);
}

void Check(const std::string& key, double value, double low, double high) {
  if (!(value >= low && value <= high))
    throw UsageError(fmt::format("{}: {} is outside {} to {}", key, FormatShortest(value), FormatShortest(low),
                                 FormatShortest(high)));
}

template <typename Integer>
void Read(const json& value, const std::string& key, Integer& into, double low, double high) {
  if (!value.is_number_integer()) throw UsageError(fmt::format("{}: {} is not a whole number", key, value.dump()));
  Check(key, value.get<double>(), low, high);
  into = value.get<Integer>();
}
void Read(const json& value, const std::string& key, std::vector<double>& into, double low, double high) {
  if (!value.is_array()) throw UsageError(fmt::format("{}: expected a list of numbers", key));
  into.clear();
  for (const json& element : value) {
    if (!element.is_number()) throw UsageError(fmt::format("{}: {} is not a number", key, element.dump()));
    Check(key, element.get<double>(), low, high);
    into.push_back(element.get<double>());
  }
}

}  // namespace

json ToJson(const SharpnessSettings& settings) {
  json result;
  ForEach(settings, [&](const char* key, const auto& member, double, double) { result[key] = member; });
  return result;
}

SharpnessSettings SharpnessSettingsFromJson(const json& object) {
  if (!object.is_object()) throw UsageError("sharpness: expected an object of settings");
  SharpnessSettings settings;
  std::vector<std::string> keys;
  ForEach(settings, [&](const char* key, auto& member, double low, double high) {
    keys.emplace_back(key);
    if (object.contains(key)) Read(object[key], key, member, low, high);
  });
  for (const auto& [key, value] : object.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      throw UsageError(
          fmt::format("{}: unknown key{}; known are {}", key, DidYouMean(key, keys), fmt::join(keys, ", ")));
    }
  }
  return settings;
}

std::string HashOf(const SharpnessSettings& settings) {
  return Sha256(ToJson(settings).dump());
}

}  // namespace steadfast::recipe
