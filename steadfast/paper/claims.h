// The claims of arXiv 2406.10528 (Memory Faults in Activation-sparse Quantized DNNs: Analysis and Mitigation using
// Sharpness-aware Training), judged as comparisons of recipes.
#pragma once

#include <string>
#include <vector>

#include "steadfast/report/recipe_comparison.h"
#include "steadfast/store/store.h"

namespace steadfast::paper {

// Which recipe plays which part.
struct ClaimRoles {
  std::string standard = "standard", as = "as", standard_saq = "standard-saq", as_saq = "as-saq";
};

// The radius of the one-step sharpness that claim 2 compares, relative to the norm of the quantized weights.
inline constexpr double kClaimRadius = 0.02;

// Claims "1", "2", "3-as", "3-standard" and "4". Throws InputError where a recipe has no model, or the recipes' seeds
// differ.
std::vector<report::Comparison> JudgeClaims(const std::vector<store::ModelRow>& models,
                                            const std::vector<store::TrialRow>& trials, const ClaimRoles& roles = {});

}  // namespace steadfast::paper
