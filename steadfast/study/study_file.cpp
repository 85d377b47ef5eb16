#include "steadfast/study/study_file.h"

#include "steadfast/network/find.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/text.h"
#include "steadfast/data/dataset.h"  // FindDataset

namespace steadfast::study {
namespace {

using nlohmann::json;

const std::vector<std::string> kPartKeys = {"name",      "widths", "train",  "recipes", "seeds",   "inject",
                                            "sharpness", "sweep",  "claims", "select",  "compare", "start"};
const std::vector<std::string> kStudyKeys = {"study",   "output", "data",    "widths",    "train",
                                             "recipes", "seeds",  "inject",  "sharpness", "sweep",
                                             "claims",  "select", "compare", "parts",     "start"};
const std::vector<std::string> kInjectKeys = {"faults", "rates",     "encodings", "trials",
                                              "seed",   "word_bits", "where",     "chip"};
const std::vector<std::string> kClaimKeys = {"standard", "as", "standard-saq", "as-saq"};
const std::vector<std::string> kSweepKeys = {"recipes", "images", "sample"};
const std::vector<std::string> kSelectKeys = {"baseline", "within"};

// A recipe that can be trained: by itself, and with a network that has its layers.
void Check(const recipe::Recipe& recipe) {
  recipe::Validate(recipe);
  std::vector<std::string> layers;
  for (const auto& [layer, bits] : recipe.layer_bits) layers.push_back(layer);
  network::CheckNetwork(recipe.network, layers);
}

class Parser {
 public:
  explicit Parser(std::string name) : name_(std::move(name)) {}

  Study Parse(const std::string& yaml) {
    YAML::Node root;
    try {
      root = YAML::Load(yaml);
    } catch (const YAML::ParserException& error) {
      throw InputError(fmt::format("{}:{}:{}: {}", name_, error.mark.line + 1, error.mark.column + 1, error.msg));
    }
    CheckMap(root, "a study", kStudyKeys);
    Study study;
    study.name = root["study"] ? Text(root["study"], "study") : Missing<std::string>(root, "study");
    CheckName(root["study"], study.name);
    study.output = root["output"] ? Text(root["output"], "output") : "results/" + study.name;
    if (root["data"]) study.data = Text(root["data"], "data");
    if (!root["parts"]) {
      study.parts.push_back(ParsePart(root, YAML::Node(), "trials"));
      return study;
    }
    CheckSequence(root["parts"], "parts");
    std::set<std::string> names;
    for (const auto& node : root["parts"]) {
      CheckMap(node, "a part", kPartKeys);
      const std::string part_name = node["name"] ? Text(node["name"], "name") : Missing<std::string>(node, "name");
      CheckName(node["name"], part_name);
      if (!names.insert(part_name).second) Fail(node["name"], fmt::format("two parts are named '{}'", part_name));
      study.parts.push_back(ParsePart(node, root, part_name));
    }
    return study;
  }

 private:
  [[noreturn]] void Fail(const YAML::Node& node, const std::string& what) const {
    const YAML::Mark mark = node.Mark();
    throw InputError(fmt::format("{}:{}:{}: {}", name_, mark.line + 1, mark.column + 1, what));
  }
  template <typename T>
  T Missing(const YAML::Node& node, const std::string& key) const {
    Fail(node, fmt::format("the key '{}' is missing", key));
  }

  void CheckMap(const YAML::Node& node, const std::string& what, const std::vector<std::string>& keys) const {
    if (!node.IsMap()) Fail(node, fmt::format("expected {} with keys such as {}", what, fmt::join(keys, ", ")));
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        Fail(entry.first,
             fmt::format("unknown key '{}'{}; known are {}", key, DidYouMean(key, keys), fmt::join(keys, ", ")));
      }
      if (!seen.insert(key).second) Fail(entry.first, fmt::format("the key '{}' appears twice", key));
    }
  }
  void CheckSequence(const YAML::Node& node, const std::string& key) const {
    if (!node.IsSequence() || node.size() == 0)
      Fail(node, fmt::format("{}: expected a list with at least one element", key));
  }
  void CheckOnce(const YAML::Node& node, const std::string& key) const {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!seen.insert(Text(entry, key)).second)
        Fail(entry, fmt::format("{}: '{}' appears twice", key, Text(entry, key)));
    }
  }
  // Names become file names.
  void CheckName(const YAML::Node& node, const std::string& text) const {
    const bool good = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '_' || c == '.';
    });
    if (!good || text[0] == '.')
      Fail(node, fmt::format("'{}' is not a name; use letters, digits, '-', '_' and '.'", text));
  }

  std::string Text(const YAML::Node& node, const std::string& key) const {
    if (!node.IsScalar()) Fail(node, fmt::format("{}: expected a single value", key));
    return node.Scalar();
  }
  // Runs a parser of command-line words on a scalar, placing its complaint.
  template <typename Function>
  auto Placed(const YAML::Node& node, Function function) const {
    try {
      return function();
    } catch (const UsageError& error) {
      Fail(node, error.what());
    } catch (const InputError& error) {
      Fail(node, error.what());
    }
  }
  int64_t Int(const YAML::Node& node, const std::string& key, int64_t low, int64_t high) const {
    return Placed(node, [&] { return ParseInt(Text(node, key), key, low, high); });
  }
  double Real(const YAML::Node& node, const std::string& key, double low, double high) const {
    return Placed(node, [&] { return ParseDouble(Text(node, key), key, low, high); });
  }

  // A key of the part, or else of the study.
  static YAML::Node KeyOf(const YAML::Node& part, const YAML::Node& root, const char* key) {
    if (part[key]) return part[key];
    if (root.IsMap() && root[key]) return root[key];
    return YAML::Node(YAML::NodeType::Undefined);
  }

  Part ParsePart(const YAML::Node& node, const YAML::Node& root, const std::string& name) const {
    Part part;
    part.name = name;
    const YAML::Node recipes = KeyOf(node, root, "recipes");
    if (!recipes.IsDefined()) Missing<int>(node, "recipes");
    const recipe::Recipe base = ParseBase(node, root);
    part.widths = ParseWidths(KeyOf(node, root, "widths"), base);
    part.recipes = ParseRecipes(recipes, base);
    part.seeds = ParseSeeds(KeyOf(node, root, "seeds"), node);
    if (const YAML::Node start = KeyOf(node, root, "start"); start.IsDefined() && !start.IsNull())
      part.start = ParseStart(start, base);
    if (const YAML::Node inject = KeyOf(node, root, "inject"); inject.IsDefined() && !inject.IsNull())
      part.inject = ParseInjection(inject);
    if (const YAML::Node sharpness = KeyOf(node, root, "sharpness"); sharpness.IsDefined() && !sharpness.IsNull()) {
      part.sharpness = ParseSharpness(sharpness, part);
      if (!part.inject)
        Fail(sharpness,
             fmt::format("{}: sharpness is kept in the store of trials: it needs an 'inject' section; say 'sharpness: "
                         "null' in this part to do without",
                         name));
    }
    if (const YAML::Node sweep = KeyOf(node, root, "sweep"); sweep.IsDefined() && !sweep.IsNull()) {
      part.sweep = ParseSweep(sweep, part);
      if (!part.inject)
        Fail(sweep,
             fmt::format(
                 "{}: sweeps are kept in the store of trials: they need an 'inject' section; say 'sweep: null' in "
                 "this part to do without",
                 name));
    }
    if (const YAML::Node claims = KeyOf(node, root, "claims"); claims.IsDefined() && !claims.IsNull())
      part.claims = ParseClaims(claims, part);
    if (const YAML::Node select = KeyOf(node, root, "select"); select.IsDefined() && !select.IsNull())
      part.select = ParseSelection(select, part);
    if (const YAML::Node compare = KeyOf(node, root, "compare"); compare.IsDefined() && !compare.IsNull())
      part.comparisons = ParsePairs(compare, "compare", part);
    if ((part.claims || !part.comparisons.empty()) && !part.inject)
      Fail(node, "claims and comparisons need an 'inject' section");
    CheckTogether(part, node, root);
    return part;
  }

  // What is possible alone but not together.
  void CheckTogether(const Part& part, const YAML::Node& node, const YAML::Node& root) const {
    const YAML::Node widths = KeyOf(node, root, "widths");
    const bool sign = part.inject && std::count(part.inject->encodings.begin(), part.inject->encodings.end(),
                                                memory::Encoding::kSignMagnitude) > 0;
    for (const NamedRecipe& named : part.recipes) {
      if ((part.inject || part.select) && named.recipe.quantizer == recipe::Quantizer::kFloat) {
        Fail(KeyOf(node, root, "recipes")[named.name],
             fmt::format("{}: a float network has no stored codes to break or choose by; name it in a part that has "
                         "neither 'inject' nor 'select'",
                         named.name));
      }
      for (const Width& width : part.widths) {
        recipe::Recipe recipe = named.recipe;
        recipe.weight_bits = width.weight_bits;
        recipe.activation_bits = width.activation_bits;
        Placed(widths.IsDefined() ? widths : node, [&] { Check(recipe); });
      }
      if (sign && !named.recipe.narrow) {
        Fail(KeyOf(node, root, "inject")["encodings"],
             fmt::format("sign-magnitude cannot hold every code of the recipe '{}'; train it with narrow: true",
                         named.name));
      }
    }
  }

  // The name of one of the part's recipes.
  std::string RecipeName(const YAML::Node& node, const std::string& key, const Part& part) const {
    const std::string name = Text(node, key);
    const bool known =
        std::any_of(part.recipes.begin(), part.recipes.end(), [&](const NamedRecipe& r) { return r.name == name; });
    if (!known) Fail(node, fmt::format("{}: there is no recipe '{}'", key, name));
    return name;
  }

  std::vector<std::pair<std::string, std::string>> ParsePairs(const YAML::Node& node, const std::string& key,
                                                              const Part& part) const {
    CheckSequence(node, key);
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const auto& entry : node) {
      if (!entry.IsSequence() || entry.size() != 2)
        Fail(entry, fmt::format("{}: expected pairs of recipes, such as [as-saq, standard]", key));
      pairs.emplace_back(RecipeName(entry[0], key, part), RecipeName(entry[1], key, part));
    }
    return pairs;
  }

  SharpnessPart ParseSharpness(const YAML::Node& node, const Part& part) const {
    json settings = recipe::ToJson(recipe::SharpnessSettings{});
    std::vector<std::string> keys = {"lines"};
    for (const auto& [key, value] : settings.items()) keys.push_back(key);
    CheckMap(node, "settings of sharpness", keys);
    SharpnessPart sharpness;
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      if (key == "lines") {
        sharpness.lines = ParsePairs(entry.second, key, part);
        continue;
      }
      if (settings[key].is_array()) {
        settings[key] = json::array();
        if (!entry.second.IsSequence()) Fail(entry.second, fmt::format("{}: expected a list", key));
        for (const auto& number : entry.second) settings[key].push_back(Real(number, key, 0, 1e6));
      } else {
        settings[key] = Int(entry.second, key, 0, int64_t{1} << 40);
      }
      sharpness.settings = Placed(entry.second, [&] { return recipe::SharpnessSettingsFromJson(settings); });
    }
    return sharpness;
  }

  // A list of recipes, or a mapping with such a list.
  SweepPart ParseSweep(const YAML::Node& node, const Part& part) const {
    SweepPart sweep;
    if (node.IsMap()) CheckMap(node, "a sweep section", kSweepKeys);
    const YAML::Node recipes = node.IsMap() ? node["recipes"] : node;
    if (!recipes.IsDefined()) Missing<int>(node, "recipes");
    CheckSequence(recipes, "sweep");
    CheckOnce(recipes, "sweep");
    for (const auto& entry : recipes) sweep.recipes.push_back(RecipeName(entry, "sweep", part));
    if (!node.IsMap()) return sweep;
    if (node["images"]) sweep.images = Int(node["images"], "images", 0, int64_t{1} << 40);
    if (node["sample"]) sweep.sample = Real(node["sample"], "sample", 1e-9, 1.0);
    return sweep;
  }

  // The study's train section, then the part's on top.
  recipe::Recipe ParseBase(const YAML::Node& node, const YAML::Node& root) const {
    recipe::Recipe base;
    if (root.IsMap() && root["train"]) base = ApplyRecipe(root["train"], base);
    if (node["train"]) base = ApplyRecipe(node["train"], base);
    return base;
  }

  // What a study trains first: the train section's network and data, in real numbers.
  recipe::Recipe ParseStart(const YAML::Node& node, recipe::Recipe base) const {
    base.quantizer = recipe::Quantizer::kFloat;
    base.sparsity = recipe::Sparsity::kNone;
    base.sharpness = recipe::Sharpness::kNone;
    base.layer_bits.clear();
    base.narrow = false;
    recipe::Recipe start = ApplyRecipe(node, base);
    start.name = "float";
    if (start.quantizer != recipe::Quantizer::kFloat)
      Fail(node["quantizer"], "start: what recipes start from is a float network");
    if (start.network != base.network || start.dataset != base.dataset)
      Fail(node, "start: network and dataset belong to the train section");
    return start;
  }

  // A recipe with the keys of a mapping set. Values are typed as the recipe's own JSON form types them.
  recipe::Recipe ApplyRecipe(const YAML::Node& node, const recipe::Recipe& base) const {
    json merged = recipe::AllSettings(base);
    std::vector<std::string> keys;
    for (const auto& [key, value] : merged.items()) {
      if (key != "name" && key != "seed" && key != "threads" && key != "network_sha256") keys.push_back(key);
    }
    if (node.IsNull()) return base;
    CheckMap(node, "recipe settings", keys);
    recipe::Recipe result = base;
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      merged[key] = JsonOf(entry.second, key, merged[key]);
      result = Placed(entry.second, [&] { return recipe::FromJson(merged); });
    }
    try {
      Check(result);
    } catch (const UsageError& error) {  // its messages start with the key
      const std::string message = error.what(), key = message.substr(0, message.find(':'));
      Fail(node[key] ? node[key] : node, message);
    }
    if (node["dataset"]) Placed(node["dataset"], [&] { data::FindDataset(result.dataset, {}); });  // a known name
    return result;
  }

  json JsonOf(const YAML::Node& node, const std::string& key, const json& like) const {
    if (like.is_object()) {
      if (!node.IsMap()) Fail(node, fmt::format("{}: expected a mapping", key));
      json object = json::object();
      for (const auto& entry : node) object[entry.first.Scalar()] = Text(entry.second, key);
      return object;
    }
    if (like.is_array()) {
      CheckSequence(node, key);
      json list = json::array();
      for (const auto& entry : node) list.push_back(Real(entry, key, -1e6, 1e6));
      return list;
    }
    const std::string text = Text(node, key);
    if (like.is_string()) return text;
    if (like.is_boolean()) {
      if (text != "true" && text != "false") Fail(node, fmt::format("{}: '{}' is not true or false", key, text));
      return text == "true";
    }
    if (like.is_number_integer()) return Int(node, key, 0, int64_t{1} << 40);
    return Real(node, key, 0, 1e12);
  }

  std::vector<Width> ParseWidths(const YAML::Node& node, const recipe::Recipe& base) const {
    if (!node.IsDefined()) return {{base.weight_bits, base.activation_bits}};
    CheckSequence(node, "widths");
    std::vector<Width> widths;
    for (const auto& entry : node) {
      const std::string text = Text(entry, "widths");
      const size_t a = text.find('A');
      if (text.size() != 4 || text[0] != 'W' || a != 2 || text[1] < '1' || text[1] > '8' || text[3] < '1' ||
          text[3] > '8') {
        Fail(entry, fmt::format("widths: '{}', expected such as W4A4", text));
      }
      widths.push_back({text[1] - '0', text[3] - '0'});
    }
    return widths;
  }

  std::vector<NamedRecipe> ParseRecipes(const YAML::Node& node, const recipe::Recipe& base) const {
    if (!node.IsMap() || node.size() == 0) Fail(node, "recipes: expected a mapping of names to settings");
    std::vector<NamedRecipe> recipes;
    for (const auto& entry : node) {
      const std::string name = Text(entry.first, "recipe name");
      CheckName(entry.first, name);
      for (const auto& other : recipes) {
        if (other.name == name) Fail(entry.first, fmt::format("two recipes are named '{}'", name));
      }
      recipe::Recipe recipe = ApplyRecipe(entry.second, base);
      recipe.name = name;
      recipes.push_back({name, recipe});
    }
    return recipes;
  }

  std::vector<uint64_t> ParseSeeds(const YAML::Node& node, const YAML::Node& part) const {
    if (!node.IsDefined()) Missing<int>(part, "seeds");
    CheckSequence(node, "seeds");
    std::vector<uint64_t> seeds;
    for (const auto& entry : node) {
      seeds.push_back(static_cast<uint64_t>(Int(entry, "seeds", 0, int64_t{1} << 40)));
      if (std::count(seeds.begin(), seeds.end(), seeds.back()) > 1)
        Fail(entry, fmt::format("seeds: {} appears twice", seeds.back()));
    }
    return seeds;
  }

  // Where nothing is said of where faults are, weights can fail; on a chip, or with faults that say where, everything.
  void ParseMemories(const YAML::Node& node, Injection& injection) const {
    if (node["chip"]) {
      if (node["word_bits"]) Fail(node["word_bits"], "word_bits: the chip says how wide words are");
      if (node["chip"].IsMap()) {
        YAML::Emitter text;
        text << node["chip"];
        injection.chip = memory::ParseChip(text.c_str(), name_ + ": chip");
      } else {
        injection.chip = Placed(node["chip"], [&] { return memory::ReadChip(Text(node["chip"], "chip")); });
      }
      injection.word_bits = injection.chip->memories[0].word_bits;
    }
    const bool targeted = std::any_of(injection.faults.begin(), injection.faults.end(), [](const auto& fault) {
      return memory::NameOf(fault).find('@') != std::string::npos;
    });
    const bool untargeted = std::any_of(injection.faults.begin(), injection.faults.end(), [](const auto& fault) {
      return memory::NameOf(fault).find('@') == std::string::npos;
    });
    if (targeted && untargeted && !node["where"] && !injection.chip)
      Fail(node["faults"], "faults: some say where they are (@) and some do not: say with 'where' what the others hit");
    if (injection.chip) {
      const auto encoding = memory::EncodingOf(*injection.chip);
      if (encoding && node["encodings"]) Fail(node["encodings"], "encodings: the chip says how codes are stored");
      if (encoding) injection.encodings = {*encoding};
    }
    if (node["where"])
      injection.where = Placed(node["where"], [&] { return memory::ParseWhere(Text(node["where"], "where")); });
    else if (injection.chip || targeted)
      injection.where = memory::ParseWhere("all,activations");
  }

  Injection ParseInjection(const YAML::Node& node) const {
    CheckMap(node, "an inject section", kInjectKeys);
    Injection injection{{}, {}, {memory::Encoding::kTwosComplement}, 0, 1, 32};
    for (const char* key : {"faults", "rates"}) {
      if (!node[key]) Missing<int>(node, key);
      CheckSequence(node[key], key);
    }
    for (const auto& entry : node["faults"])
      injection.faults.push_back(Placed(entry, [&] { return memory::ParseFaultModel(Text(entry, "faults")); }));
    for (const auto& entry : node["rates"]) {
      injection.rates.push_back(Real(entry, "rates", 0.0, 1.0));
      if (injection.rates.size() > 1 && injection.rates.back() <= injection.rates[injection.rates.size() - 2])
        Fail(entry, "rates: expected ascending rates");
    }
    CheckOnce(node["faults"], "faults");
    if (node["encodings"]) {
      CheckSequence(node["encodings"], "encodings");
      injection.encodings.clear();
      for (const auto& entry : node["encodings"])
        injection.encodings.push_back(Placed(entry, [&] { return memory::ParseEncoding(Text(entry, "encodings")); }));
    }
    if (node["encodings"]) CheckOnce(node["encodings"], "encodings");
    injection.trials = node["trials"] ? Int(node["trials"], "trials", 1, 1000000000) : Missing<int64_t>(node, "trials");
    if (node["seed"]) injection.seed = static_cast<uint64_t>(Int(node["seed"], "seed", 0, int64_t{1} << 62));
    if (node["word_bits"]) injection.word_bits = static_cast<int>(Int(node["word_bits"], "word_bits", 8, 64));
    ParseMemories(node, injection);
    return injection;
  }

  paper::ClaimRoles ParseClaims(const YAML::Node& node, const Part& part) const {
    CheckMap(node, "the roles of claims", kClaimKeys);
    paper::ClaimRoles roles;
    const auto role = [&](const char* key, std::string& into) {
      if (node[key]) into = Text(node[key], key);
      const bool known =
          std::any_of(part.recipes.begin(), part.recipes.end(), [&](const NamedRecipe& r) { return r.name == into; });
      if (!known) Fail(node[key] ? node[key] : node, fmt::format("{}: there is no recipe '{}'", key, into));
    };
    role("standard", roles.standard);
    role("as", roles.as);
    role("standard-saq", roles.standard_saq);
    role("as-saq", roles.as_saq);
    return roles;
  }

  Selection ParseSelection(const YAML::Node& node, const Part& part) const {
    CheckMap(node, "a select section", kSelectKeys);
    Selection selection;
    selection.baseline = node["baseline"] ? Text(node["baseline"], "baseline") : Missing<std::string>(node, "baseline");
    selection.within = node["within"] ? Real(node["within"], "within", 0.0, 100.0) : Missing<double>(node, "within");
    const bool known = std::any_of(part.recipes.begin(), part.recipes.end(),
                                   [&](const NamedRecipe& r) { return r.name == selection.baseline; });
    if (!known) Fail(node["baseline"], fmt::format("baseline: there is no recipe '{}'", selection.baseline));
    return selection;
  }

  std::string name_;
};

}  // namespace

Study ParseStudy(const std::string& yaml, const std::string& name) {
  return Parser(name).Parse(yaml);
}

Study ReadStudy(const std::filesystem::path& path) {
  return ParseStudy(ReadTextFile(path), path.string());
}

}  // namespace steadfast::study
