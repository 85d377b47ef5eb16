#include "steadfast/paper/claims.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"

namespace steadfast::paper {
namespace {

using nlohmann::json;
using store::ModelRow;

double SharpnessOf(const ModelRow& model) {
  const json sharpness = json::parse(model.sharpness_json, nullptr, false);
  if (sharpness.is_object() && sharpness.contains("at") && sharpness["at"].is_array()) {
    for (const auto& point : sharpness["at"]) {
      if (point.is_object() && std::abs(point.value("relative_radius", 0.0) - kClaimRadius) < 1e-9)
        return point.value("increase", std::nan(""));
    }
  }
  throw InputError(fmt::format("claim 2 needs the sharpness of {}, and its file has none at a relative radius of {}",
                               model.label, kClaimRadius));
}

}  // namespace

std::vector<report::Comparison> JudgeClaims(const std::vector<ModelRow>& models,
                                            const std::vector<store::TrialRow>& trials, const ClaimRoles& roles) {
  constexpr const char* kQuestion =
      "Do activation-sparse quantized networks lose more accuracy to faults in the memory that holds their weights "
      "than "
      "standard ones, is a sharper minimum the reason, and does sharpness-aware training repair it?";
  const auto accuracy = [&](const char* id, const char* statement, const std::string& better,
                            const std::string& worse) {
    return report::CompareRecipes(models, trials, better, worse, id, statement);
  };
  report::Comparison sharpness = report::CompareModels(
      models, roles.as, roles.standard, "2", "Activation-sparse networks sit in sharper minima than standard ones.",
      "loss", SharpnessOf);
  sharpness.relative_radius = kClaimRadius;
  std::vector<report::Comparison> claims = {
      accuracy("1", "Activation-sparse networks have lower accuracy under memory faults than standard ones.",
               roles.standard, roles.as),
      sharpness,
      accuracy("3-as", "SAQ training gives activation-sparse networks higher accuracy under faults.", roles.as_saq,
               roles.as),
      accuracy("3-standard", "SAQ training gives standard networks higher accuracy under faults.", roles.standard_saq,
               roles.standard),
      accuracy("4",
               "SAQ-trained activation-sparse networks do better under faults than conventionally trained standard "
               "ones.",
               roles.as_saq, roles.standard)};
  for (report::Comparison& claim : claims) claim.question = kQuestion;
  return claims;
}

}  // namespace steadfast::paper
