#include "steadfast/recipe/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"

namespace steadfast::recipe {
namespace {

template <typename Enum, size_t N>
using Names = std::array<std::pair<Enum, std::string_view>, N>;

constexpr Names<Quantizer, 4> kQuantizers = {
    {{Quantizer::kFloat, "float"}, {Quantizer::kLsq, "lsq"}, {Quantizer::kLiq, "liq"}, {Quantizer::kDoReFa, "dorefa"}}};
constexpr Names<Sparsity, 4> kSparsities = {{{Sparsity::kNone, "none"},
                                             {Sparsity::kL1, "l1"},
                                             {Sparsity::kHoyerSquare, "hoyer"},
                                             {Sparsity::kFatRelu, "fatrelu"}}};
constexpr Names<Sharpness, 4> kSharpnesses = {
    {{Sharpness::kNone, "none"}, {Sharpness::kSam, "sam"}, {Sharpness::kAsam, "asam"}, {Sharpness::kSaq, "saq"}}};
constexpr Names<Optimizer, 2> kOptimizers = {{{Optimizer::kSgd, "sgd"}, {Optimizer::kAdam, "adam"}}};
constexpr Names<Schedule, 3> kSchedules = {
    {{Schedule::kConstant, "constant"}, {Schedule::kCosine, "cosine"}, {Schedule::kStep, "step"}}};

template <typename Enum, size_t N>
std::string_view NameIn(const Names<Enum, N>& names, Enum value) {
  for (const auto& [candidate, name] : names) {
    if (candidate == value) return name;
  }
  return "?";
}

template <typename Enum, size_t N>
Enum ParseName(const Names<Enum, N>& names, std::string_view text, std::string_view what) {
  std::vector<std::string> all;
  for (const auto& [value, name] : names) {
    if (name == text) return value;
    all.emplace_back(name);
  }
  throw UsageError(fmt::format("{}: '{}' is not one of {}{}", what, text, fmt::join(all, ", "), DidYouMean(text, all)));
}

// "kind:number", the number required unless kind is "none".
template <typename Enum, size_t N>
std::pair<Enum, double> ParseWithStrength(const Names<Enum, N>& names, std::string_view text, std::string_view what,
                                          double high) {
  const size_t colon = text.find(':');
  const Enum kind = ParseName(names, text.substr(0, colon), what);
  if (kind == Enum::kNone) {
    if (colon != std::string_view::npos) throw UsageError(fmt::format("{}: 'none' takes no strength", what));
    return {kind, 0.0};
  }
  if (colon == std::string_view::npos) {
    throw UsageError(fmt::format("{}: '{}' lacks its strength; expected {}:NUMBER", what, text, text));
  }
  return {kind, ParseDouble(text.substr(colon + 1), what, 0.0, high)};
}

std::string WithStrength(std::string_view name, double strength) {
  return name == "none" ? std::string(name) : fmt::format("{}:{}", name, FormatShortest(strength));
}

void CheckBits(std::string_view key, int bits, int low) {
  if (bits < low || bits > 8) throw UsageError(fmt::format("{}: {} bits, expected {} to 8", key, bits, low));
}

int LowestWeightBits(Quantizer quantizer) {
  return quantizer == Quantizer::kLsq ? 2 : 1;
}

const char* ReasonForLowestBits(Quantizer quantizer) {
  return quantizer == Quantizer::kLsq ? " (signed LSQ has no positive code at 1 bit; use liq or dorefa)" : "";
}

}  // namespace

std::string_view NameOf(Quantizer quantizer) {
  return NameIn(kQuantizers, quantizer);
}
std::string_view NameOf(Sparsity sparsity) {
  return NameIn(kSparsities, sparsity);
}
std::string_view NameOf(Sharpness sharpness) {
  return NameIn(kSharpnesses, sharpness);
}
std::string_view NameOf(Optimizer optimizer) {
  return NameIn(kOptimizers, optimizer);
}
std::string_view NameOf(Schedule schedule) {
  return NameIn(kSchedules, schedule);
}

void ParseQuantizer(std::string_view text, Recipe& recipe) {
  recipe.quantizer = ParseName(kQuantizers, text, "quantizer");
}
void ParseOptimizer(std::string_view text, Recipe& recipe) {
  recipe.optimizer = ParseName(kOptimizers, text, "optimizer");
}
void ParseSparsity(std::string_view text, Recipe& recipe) {
  std::tie(recipe.sparsity, recipe.sparsity_strength) = ParseWithStrength(kSparsities, text, "sparsity", 1e6);
}
void ParseSharpness(std::string_view text, Recipe& recipe) {
  std::tie(recipe.sharpness, recipe.rho) = ParseWithStrength(kSharpnesses, text, "sharpness", 1e3);
}

void ParseSchedule(std::string_view text, Recipe& recipe) {
  const size_t colon = text.find(':');
  recipe.schedule = ParseName(kSchedules, text.substr(0, colon), "schedule");
  recipe.step_epochs.clear();
  if ((recipe.schedule == Schedule::kStep) != (colon != std::string_view::npos)) {
    throw UsageError(fmt::format("schedule: '{}', expected constant, cosine or step:EPOCH,EPOCH,…", text));
  }
  if (recipe.schedule != Schedule::kStep) return;
  for (const auto& piece : Split(text.substr(colon + 1), ',')) {
    recipe.step_epochs.push_back(static_cast<int>(ParseInt(piece, "schedule", 1, 1000000)));
  }
}

void ParseLayerBits(std::string_view text, Recipe& recipe) {
  const size_t equals = text.find('='), slash = text.find('/');
  if (equals == std::string_view::npos || slash == std::string_view::npos || slash < equals) {
    throw UsageError(fmt::format("layer bits: '{}', expected LAYER=WEIGHT_BITS/ACTIVATION_BITS", text));
  }
  recipe.layer_bits[std::string(text.substr(0, equals))] = {
      static_cast<int>(ParseInt(text.substr(equals + 1, slash - equals - 1), "layer bits", 1, 8)),
      static_cast<int>(ParseInt(text.substr(slash + 1), "layer bits", 1, 8))};
}

void ParsePerturbed(std::string_view text, Recipe& recipe) {
  recipe.perturbed = {false, false, false, false};
  if (text == "none") return;
  for (const auto& group : Split(text, ',')) {
    if (group == "biases")
      recipe.perturbed.biases = true;
    else if (group == "normalization")
      recipe.perturbed.normalization = true;
    else if (group == "activation-steps")
      recipe.perturbed.activation_steps = true;
    else if (group == "weight-steps")
      recipe.perturbed.weight_steps = true;
    else
      throw UsageError(fmt::format(
          "perturb: '{}' is not one of biases, normalization, activation-steps, weight-steps, none", group));
  }
}

std::string SparsityText(const Recipe& recipe) {
  return WithStrength(NameOf(recipe.sparsity), recipe.sparsity_strength);
}
std::string SharpnessText(const Recipe& recipe) {
  return WithStrength(NameOf(recipe.sharpness), recipe.rho);
}
std::string ScheduleText(const Recipe& recipe) {
  return recipe.schedule == Schedule::kStep ? fmt::format("step:{}", fmt::join(recipe.step_epochs, ","))
                                            : std::string(NameOf(recipe.schedule));
}
std::string PerturbedText(const Recipe& recipe) {
  std::vector<std::string> groups;
  if (recipe.perturbed.biases) groups.emplace_back("biases");
  if (recipe.perturbed.normalization) groups.emplace_back("normalization");
  if (recipe.perturbed.activation_steps) groups.emplace_back("activation-steps");
  if (recipe.perturbed.weight_steps) groups.emplace_back("weight-steps");
  return groups.empty() ? "none" : fmt::format("{}", fmt::join(groups, ","));
}

void Validate(const Recipe& recipe) {
  if (recipe.quantizer != Quantizer::kFloat) {
    const int lowest = LowestWeightBits(recipe.quantizer);
    const auto check = [&](std::string_view key, int weight_bits, int activation_bits) {
      if (weight_bits < lowest || weight_bits > 8) {
        throw UsageError(fmt::format("{}: {} bits, expected {} to 8 for {}{}", key, weight_bits, lowest,
                                     NameOf(recipe.quantizer), ReasonForLowestBits(recipe.quantizer)));
      }
      CheckBits("activation_bits", activation_bits, 1);
    };
    check("weight_bits", recipe.weight_bits, recipe.activation_bits);
    for (const auto& [layer, bits] : recipe.layer_bits) {
      check(fmt::format("layer_bits.{}", layer), bits.weight_bits, bits.activation_bits);
    }
  }
  if (recipe.narrow && recipe.quantizer != Quantizer::kLsq) {
    throw UsageError(
        fmt::format("narrow: only signed codes have a narrow range; quantizer is {}", NameOf(recipe.quantizer)));
  }
  if (recipe.sharpness == Sharpness::kSaq && recipe.quantizer == Quantizer::kFloat) {
    throw UsageError("sharpness: saq perturbs quantized weights, and quantizer is float; use sam");
  }
  if (recipe.sparsity == Sparsity::kFatRelu && recipe.quantizer == Quantizer::kFloat) {
    throw UsageError("sparsity: fatrelu searches over codes, and quantizer is float");
  }
  const auto positive = [](std::string_view key, double value) {
    if (!(value > 0) || value > 1e9) throw UsageError(fmt::format("{}: {}, expected a positive number", key, value));
  };
  const auto not_negative = [](std::string_view key, double value) {
    if (!(value >= 0) || value > 1e9) throw UsageError(fmt::format("{}: {}, expected a number from 0", key, value));
  };
  positive("learning_rate", recipe.learning_rate);
  positive("epochs", recipe.epochs);
  positive("batch_size", recipe.batch_size);
  positive("threads", recipe.threads);
  if (recipe.device != "cpu" && recipe.device != "cuda")
    throw UsageError(fmt::format("device: '{}', expected cpu or cuda", recipe.device));
  positive("step_factor", recipe.step_factor);
  not_negative("rho", recipe.rho);
  not_negative("sparsity_strength", recipe.sparsity_strength);
  not_negative("weight_decay", recipe.weight_decay);
  not_negative("step_weight_decay", recipe.step_weight_decay);
  not_negative("asam_eta", recipe.asam_eta);
  not_negative("warm_up", recipe.warm_up);
  not_negative("gradient_clip", recipe.gradient_clip);
  if (!(recipe.average >= 0 && recipe.average < 1))
    throw UsageError(fmt::format("average: {}, expected a number from 0 and below 1", recipe.average));
  if (!(recipe.label_smoothing >= 0 && recipe.label_smoothing < 1))
    throw UsageError(fmt::format("label_smoothing: {}, expected a number from 0 and below 1", recipe.label_smoothing));
  for (const double deviation : recipe.deviation) positive("std", deviation);
  not_negative("train_images", static_cast<double>(recipe.train_images));
  if (!(recipe.momentum >= 0 && recipe.momentum < 1)) {
    throw UsageError(fmt::format("momentum: {}, expected a number from 0 and below 1", recipe.momentum));
  }
}

void ParseAugmentation(std::string_view text, Recipe& recipe) {
  recipe.crop = recipe.cutout = 0;
  recipe.flip = false;
  if (text == "none") return;
  const std::vector<std::string> kinds = {"crop", "flip", "cutout"};
  for (const std::string& part : Split(text, ',')) {
    const size_t colon = part.find(':');
    const std::string kind = part.substr(0, colon);
    const auto pixels = [&](int high) {
      if (colon == std::string::npos)
        throw UsageError(fmt::format("augmentation: '{}' lacks its pixels; expected {}:PIXELS", part, kind));
      return static_cast<int>(ParseInt(part.substr(colon + 1), "augmentation: " + kind, 1, high));
    };
    if (kind == "crop") {
      recipe.crop = pixels(64);
    } else if (kind == "cutout") {
      recipe.cutout = pixels(1024);
    } else if (part == "flip") {
      recipe.flip = true;
    } else {
      throw UsageError(fmt::format("augmentation: '{}' is not one of crop:PIXELS, flip, cutout:PIXELS, none{}", part,
                                   DidYouMean(kind, kinds)));
    }
  }
}

std::string AugmentationText(const Recipe& recipe) {
  std::vector<std::string> parts;
  if (recipe.crop > 0) parts.push_back(fmt::format("crop:{}", recipe.crop));
  if (recipe.flip) parts.emplace_back("flip");
  if (recipe.cutout > 0) parts.push_back(fmt::format("cutout:{}", recipe.cutout));
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ","));
}

nlohmann::json ToJson(const Recipe& recipe) {
  nlohmann::json bits = nlohmann::json::object();
  for (const auto& [layer, b] : recipe.layer_bits) bits[layer] = fmt::format("{}/{}", b.weight_bits, b.activation_bits);
  nlohmann::json json = {{"name", recipe.name},
                         {"network", recipe.network},
                         {"dataset", recipe.dataset},
                         {"quantizer", NameOf(recipe.quantizer)},
                         {"weight_bits", recipe.weight_bits},
                         {"activation_bits", recipe.activation_bits},
                         {"narrow", recipe.narrow},
                         {"layer_bits", bits},
                         {"sparsity", SparsityText(recipe)},
                         {"sparsity_after_quantizer", recipe.sparsity_after_quantizer},
                         {"sharpness", SharpnessText(recipe)},
                         {"asam_eta", recipe.asam_eta},
                         {"perturb", PerturbedText(recipe)},
                         {"normalization_statistics_in_both_passes", recipe.normalization_statistics_in_both_passes},
                         {"optimizer", NameOf(recipe.optimizer)},
                         {"learning_rate", recipe.learning_rate},
                         {"momentum", recipe.momentum},
                         {"nesterov", recipe.nesterov},
                         {"weight_decay", recipe.weight_decay},
                         {"step_weight_decay", recipe.step_weight_decay},
                         {"schedule", ScheduleText(recipe)},
                         {"step_factor", recipe.step_factor},
                         {"epochs", recipe.epochs},
                         {"batch_size", recipe.batch_size},
                         {"train_images", recipe.train_images},
                         {"seed", recipe.seed},
                         {"threads", recipe.threads}};
  // What came later is said where it is used, so that older recipes keep their hashes.
  if (!recipe.network_sha256.empty()) json["network_sha256"] = recipe.network_sha256;
  if (!recipe.start.empty()) json["start"] = recipe.start;
  if (!recipe.mean.empty()) json["mean"] = recipe.mean;
  if (!recipe.deviation.empty()) json["std"] = recipe.deviation;
  if (recipe.warm_up > 0) json["warm_up"] = recipe.warm_up;
  if (recipe.label_smoothing > 0) json["label_smoothing"] = recipe.label_smoothing;
  if (recipe.gradient_clip > 0) json["gradient_clip"] = recipe.gradient_clip;
  if (AugmentationText(recipe) != "none") json["augmentation"] = AugmentationText(recipe);
  if (recipe.average > 0) json["average"] = recipe.average;
  if (recipe.best_epoch) json["best_epoch"] = true;
  if (recipe.reestimate_normalization) json["reestimate_normalization"] = true;
  if (recipe.device != "cpu") json["device"] = recipe.device;
  return json;
}

nlohmann::json AllSettings(const Recipe& recipe) {
  nlohmann::json json = ToJson(recipe);
  json["mean"] = recipe.mean;
  json["std"] = recipe.deviation;
  json["device"] = recipe.device;
  json["warm_up"] = recipe.warm_up;
  json["label_smoothing"] = recipe.label_smoothing;
  json["gradient_clip"] = recipe.gradient_clip;
  json["augmentation"] = AugmentationText(recipe);
  json["average"] = recipe.average;
  json["best_epoch"] = recipe.best_epoch;
  json["reestimate_normalization"] = recipe.reestimate_normalization;
  return json;
}

Recipe FromJson(const nlohmann::json& json) {
  if (!json.is_object()) throw InputError("recipe: expected a JSON object");
  Recipe recipe;
  nlohmann::json defaults = AllSettings(recipe);
  defaults["network_sha256"] = defaults["start"] = "";
  std::vector<std::string> keys;
  for (const auto& [key, value] : defaults.items()) keys.push_back(key);
  for (const auto& [key, value] : json.items()) {
    if (!defaults.contains(key))
      throw InputError(fmt::format("recipe: unknown key '{}'{}", key, DidYouMean(key, keys)));
  }
  const auto read = [&](const char* key, auto& into) {
    if (!json.contains(key)) return;
    try {
      json.at(key).get_to(into);
    } catch (const nlohmann::json::exception&) {
      throw InputError(fmt::format("recipe: {}: {} is of the wrong type", key, json.at(key).dump()));
    }
  };
  const auto parse = [&](const char* key, auto parser) {
    std::string text;
    read(key, text);
    if (json.contains(key)) parser(text, recipe);
  };
  read("name", recipe.name);
  read("network", recipe.network);
  read("network_sha256", recipe.network_sha256);
  read("start", recipe.start);
  read("mean", recipe.mean);
  read("std", recipe.deviation);
  read("dataset", recipe.dataset);
  read("warm_up", recipe.warm_up);
  read("label_smoothing", recipe.label_smoothing);
  read("gradient_clip", recipe.gradient_clip);
  parse("augmentation", ParseAugmentation);
  read("average", recipe.average);
  read("best_epoch", recipe.best_epoch);
  read("reestimate_normalization", recipe.reestimate_normalization);
  parse("quantizer", ParseQuantizer);
  read("weight_bits", recipe.weight_bits);
  read("activation_bits", recipe.activation_bits);
  read("narrow", recipe.narrow);
  std::map<std::string, std::string> bits;
  read("layer_bits", bits);
  for (const auto& [layer, text] : bits) ParseLayerBits(layer + "=" + text, recipe);
  parse("sparsity", ParseSparsity);
  read("sparsity_after_quantizer", recipe.sparsity_after_quantizer);
  parse("sharpness", ParseSharpness);
  read("asam_eta", recipe.asam_eta);
  parse("perturb", ParsePerturbed);
  read("normalization_statistics_in_both_passes", recipe.normalization_statistics_in_both_passes);
  parse("optimizer", ParseOptimizer);
  read("learning_rate", recipe.learning_rate);
  read("momentum", recipe.momentum);
  read("nesterov", recipe.nesterov);
  read("weight_decay", recipe.weight_decay);
  read("step_weight_decay", recipe.step_weight_decay);
  parse("schedule", ParseSchedule);
  read("step_factor", recipe.step_factor);
  read("epochs", recipe.epochs);
  read("batch_size", recipe.batch_size);
  read("train_images", recipe.train_images);
  read("seed", recipe.seed);
  read("threads", recipe.threads);
  read("device", recipe.device);
  return recipe;
}

bool Matches(std::string_view pattern, std::string_view layer) {
  if (pattern.empty()) return layer.empty();
  if (pattern[0] == '*') {
    return Matches(pattern.substr(1), layer) || (!layer.empty() && Matches(pattern, layer.substr(1)));
  }
  return !layer.empty() && (pattern[0] == '?' || pattern[0] == layer[0]) && Matches(pattern.substr(1), layer.substr(1));
}

bool HasBitsOfItsOwn(const Recipe& recipe, const std::string& layer) {
  return std::any_of(recipe.layer_bits.begin(), recipe.layer_bits.end(),
                     [&](const auto& entry) { return Matches(entry.first, layer); });
}

LayerBits BitsOf(const Recipe& recipe, const std::string& layer) {
  const auto exact = recipe.layer_bits.find(layer);
  if (exact != recipe.layer_bits.end()) return exact->second;
  for (const auto& [pattern, bits] : recipe.layer_bits) {
    if (Matches(pattern, layer)) return bits;
  }
  return {recipe.weight_bits, recipe.activation_bits};
}

std::string HashOf(const Recipe& recipe) {
  nlohmann::json json = ToJson(recipe);
  json.erase("name");
  if (!recipe.network_sha256.empty() || !recipe.start.empty()) json.erase("network");  // wherever the file lies
  return Sha256(json.dump());
}

std::string Describe(const Recipe& recipe) {
  const std::string widths = recipe.quantizer == Quantizer::kFloat
                                 ? "float32"
                                 : fmt::format("W{}A{} {}{}", recipe.weight_bits, recipe.activation_bits,
                                               NameOf(recipe.quantizer), recipe.narrow ? " narrow" : "");
  return fmt::format("{} on {}, {}, sparsity {}, sharpness {}, {} {} {}, {} epochs, seed {}", recipe.network,
                     recipe.dataset, widths, SparsityText(recipe), SharpnessText(recipe), NameOf(recipe.optimizer),
                     recipe.learning_rate, ScheduleText(recipe), recipe.epochs, recipe.seed);
}

}  // namespace steadfast::recipe
