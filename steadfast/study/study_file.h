// Study files: which networks to train, how to break them, and what to judge (docs/formats.md has every key).
//
// YAML, checked: unknown keys, wrong types and impossible values are errors that name file, line and column.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/memory/encoding.h"            // Encoding
#include "steadfast/memory/fault_model.h"         // FaultModel
#include "steadfast/paper/claims.h"               // ClaimRoles
#include "steadfast/recipe/recipe.h"              // Recipe
#include "steadfast/recipe/sharpness_settings.h"  // SharpnessSettings

namespace steadfast::study {

struct NamedRecipe {
  std::string name;
  recipe::Recipe recipe;  // seed left at its default
};

struct Injection {
  std::vector<memory::FaultModel> faults;
  std::vector<double> rates;  // faults per bit, ascending
  std::vector<memory::Encoding> encodings;
  int64_t trials;
  uint64_t seed;
  int word_bits;
  memory::Where where = {};
  std::optional<memory::Chip> chip = {};
};

// Choosing a strength without looking at faults: of the part's recipes, in ascending strength, the last whose mean
// clean validation accuracy stays within `within` points of the baseline's.
struct Selection {
  std::string baseline;
  double within;  // points of validation accuracy
};

// Measuring sharpness of the part's networks.
struct SharpnessPart {
  recipe::SharpnessSettings settings;
  // Straight lines between two recipes' networks of the first seed.
  std::vector<std::pair<std::string, std::string>> lines;
};

// Sweeping the network of the first seed of some recipes, bit by bit.
struct SweepPart {
  std::vector<std::string> recipes;
  int64_t images = 0;  // the first so many test images; 0: all
  double sample = 1;   // share of the faults, as of campaign::SweepSettings
};

// A width that recipes are trained at: "W4A4".
struct Width {
  int weight_bits, activation_bits;
};

struct Part {
  std::string name;  // of its store: NAME.sqlite; "trials" where the file has no parts
  std::vector<Width> widths;
  std::vector<NamedRecipe> recipes;
  std::vector<uint64_t> seeds;
  // A float training, once a seed, that every recipe starts from (as LSQ and SAQ publish theirs).
  std::optional<recipe::Recipe> start;
  std::optional<Injection> inject;
  std::optional<SharpnessPart> sharpness;
  std::optional<SweepPart> sweep;
  std::optional<paper::ClaimRoles> claims;
  std::optional<Selection> select;
  std::vector<std::pair<std::string, std::string>> comparisons;  // recipes: first minus second
};

struct Study {
  std::string name;
  std::filesystem::path output;  // folder; results/NAME unless the file says otherwise
  std::filesystem::path data;    // folder of datasets; empty: not given
  std::vector<Part> parts;
};

// Throws IoError and InputError ("studies/quick.yaml:12:5: …").
Study ReadStudy(const std::filesystem::path& path);
Study ParseStudy(const std::string& yaml, const std::string& name);

}  // namespace steadfast::study
