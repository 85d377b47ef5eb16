#include "steadfast/memory/chip.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/text.h"  // DidYouMean, ParseInt
#include "steadfast/memory/where.h"

namespace steadfast::memory {
namespace {

const std::vector<std::string> kChipKeys = {"chip", "memories"};
const std::vector<std::string> kMemoryKeys = {"name",         "holds",  "encoding",      "word_bits",
                                              "cell_bits",    "levels", "words_per_row", "rows",
                                              "interleaving", "banks",  "order",         "buffers"};

// A whole number's key, its place, and its range.
struct NumberKey {
  const char* key;
  int Memory::*field;
  int low, high;
};
constexpr NumberKey kNumberKeys[] = {{"word_bits", &Memory::word_bits, 8, 64},
                                     {"cell_bits", &Memory::cell_bits, 1, 3},
                                     {"words_per_row", &Memory::words_per_row, 1, 4096},
                                     {"rows", &Memory::rows_per_bank, 1, 1 << 20},
                                     {"banks", &Memory::banks, 0, 1 << 16},
                                     {"interleaving", &Memory::interleaving, 1, 4096}};

std::string_view NameOf(BankOrder order) {
  return order == BankOrder::kFill ? "fill" : "alternate";
}
std::string_view NameOf(LevelCode code) {
  return code == LevelCode::kGray ? "gray" : "binary";
}

std::string_view NameOf(Buffers buffers) {
  return buffers == Buffers::kEach ? "each" : buffers == Buffers::kOne ? "one" : "two";
}

class ChipParser {
 public:
  explicit ChipParser(std::string name) : name_(std::move(name)) {}

  Chip Parse(const std::string& yaml) const {
    YAML::Node root;
    try {
      root = YAML::Load(yaml);
    } catch (const YAML::Exception& error) {
      throw InputError(fmt::format("{}:{}:{}: {}", name_, error.mark.line + 1, error.mark.column + 1, error.msg));
    }
    CheckMap(root, "a chip", kChipKeys);
    Chip chip;
    chip.name = root["chip"] ? Text(root["chip"], "chip") : std::filesystem::path(name_).stem().string();
    if (!root["memories"] || !root["memories"].IsSequence() || root["memories"].size() == 0)
      Fail(root["memories"] ? root["memories"] : root, "memories: expected a list with at least one memory");
    for (const auto& node : root["memories"]) chip.memories.push_back(ParseMemory(node));
    try {
      Check(chip);
    } catch (const UsageError& error) {
      throw InputError(fmt::format("{}: {}", name_, error.what()));
    }
    return chip;
  }

 private:
  [[noreturn]] void Fail(const YAML::Node& node, const std::string& what) const {
    const YAML::Mark mark = node.Mark();
    throw InputError(fmt::format("{}:{}:{}: {}", name_, mark.line + 1, mark.column + 1, what));
  }
  void CheckMap(const YAML::Node& node, const char* what, const std::vector<std::string>& keys) const {
    if (!node.IsMap()) Fail(node, fmt::format("expected {} with keys such as {}", what, fmt::join(keys, ", ")));
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        Fail(entry.first,
             fmt::format("unknown key '{}'{}; known are {}", key, DidYouMean(key, keys), fmt::join(keys, ", ")));
      if (!seen.insert(key).second) Fail(entry.first, fmt::format("the key '{}' appears twice", key));
    }
  }
  std::string Text(const YAML::Node& node, const char* key) const {
    if (!node.IsScalar()) Fail(node, fmt::format("{}: expected a single value", key));
    return node.Scalar();
  }
  template <typename Value>
  Value OneOf(const YAML::Node& node, const char* key, std::initializer_list<Value> values) const {
    const std::string text = Text(node, key);
    std::vector<std::string_view> names;
    for (Value value : values) {
      if (NameOf(value) == text) return value;
      names.push_back(NameOf(value));
    }
    Fail(node, fmt::format("{}: '{}' is not one of {}", key, text, fmt::join(names, ", ")));
  }

  Memory ParseMemory(const YAML::Node& node) const {
    CheckMap(node, "a memory", kMemoryKeys);
    Memory memory;
    if (node["name"]) memory.name = Text(node["name"], "name");
    if (!node["holds"]) Fail(node, "the key 'holds' is missing: what lies in this memory, as --where has it");
    try {
      memory.holds = NameOf(ParseWhere(Text(node["holds"], "holds")));
    } catch (const UsageError& error) {
      Fail(node["holds"], fmt::format("holds: {}", error.what()));
    }
    if (node["encoding"]) {
      using E = Encoding;
      memory.encoding =
          OneOf(node["encoding"], "encoding", {E::kTwosComplement, E::kSignMagnitude, E::kOffsetBinary, E::kGray});
    }
    for (const NumberKey& number : kNumberKeys) {
      if (!node[number.key]) continue;
      try {
        memory.*number.field =
            static_cast<int>(ParseInt(Text(node[number.key], number.key), number.key, number.low, number.high));
      } catch (const UsageError& error) {
        Fail(node[number.key], error.what());
      }
    }
    if (node["levels"]) memory.level_code = OneOf(node["levels"], "levels", {LevelCode::kGray, LevelCode::kBinary});
    if (node["order"]) memory.order = OneOf(node["order"], "order", {BankOrder::kFill, BankOrder::kAlternate});
    if (node["buffers"])
      memory.buffers = OneOf(node["buffers"], "buffers", {Buffers::kEach, Buffers::kOne, Buffers::kTwo});
    return memory;
  }

  std::string name_;
};

// JSON's strings are a part of YAML's, and the emitter writes such.
void Emit(const Memory& memory, YAML::Emitter& out) {
  out << YAML::BeginMap;
  out << YAML::Key << "name" << YAML::Value << memory.name;
  out << YAML::Key << "holds" << YAML::Value << memory.holds;
  if (memory.encoding) out << YAML::Key << "encoding" << YAML::Value << std::string(NameOf(*memory.encoding));
  for (const NumberKey& number : kNumberKeys) out << YAML::Key << number.key << YAML::Value << memory.*number.field;
  out << YAML::Key << "levels" << YAML::Value << std::string(NameOf(memory.level_code));
  out << YAML::Key << "order" << YAML::Value << std::string(NameOf(memory.order));
  if (memory.buffers != Buffers::kEach)
    out << YAML::Key << "buffers" << YAML::Value << std::string(NameOf(memory.buffers));
  out << YAML::EndMap;
}

}  // namespace

const std::vector<ChipPreset>& ChipPresets() {
  static const std::vector<ChipPreset> presets = {
      {"weights", "weights alone, in banks of 256 rows of 8 words of 32 bits", PlainChip("weights", 32)},
      {"everything",
       "all parameters, and behind them a buffer for each value between layers, in one such memory",
       {"everything", {{.holds = NameOf(ParseWhere("all,activations"))}}}},
      {"systolic",
       "a systolic array's weight buffer: 64-bit words, 16 a row, their bits alternating, words spread over the banks; "
       "all other parameters in a small memory, activations in two buffers that take turns",
       {"systolic",
        {{.name = "weight-buffer",
          .holds = "weights",
          .word_bits = 64,
          .words_per_row = 16,
          .rows_per_bank = 512,
          .interleaving = 16,
          .order = BankOrder::kAlternate},
         {.name = "constants",
          .holds = "biases,scales,normalization,activation-scales",
          .word_bits = 32,
          .words_per_row = 4,
          .rows_per_bank = 64},
         {.name = "activation-buffer",
          .holds = "activations",
          .word_bits = 64,
          .words_per_row = 16,
          .rows_per_bank = 128,
          .interleaving = 16,
          .buffers = Buffers::kTwo}}}}};
  return presets;
}

Chip PlainChip(std::string_view holds, int word_bits) {
  Memory memory;
  memory.holds = NameOf(ParseWhere(holds));
  memory.word_bits = word_bits;
  return {"plain", {memory}};
}

Chip ReadChip(const std::string& name_or_file) {
  std::vector<std::string> names;
  for (const ChipPreset& preset : ChipPresets()) {
    if (preset.name == name_or_file) return preset.chip;
    names.emplace_back(preset.name);
  }
  if (!std::filesystem::exists(name_or_file))
    throw UsageError(fmt::format("--chip: '{}' is neither a file nor one of {}{}", name_or_file, fmt::join(names, ", "),
                                 DidYouMean(name_or_file, names)));
  return ParseChip(ReadTextFile(name_or_file), name_or_file);
}

Chip ParseChip(const std::string& yaml, const std::string& name) {
  return ChipParser(name).Parse(yaml);
}

std::string ToText(const Chip& chip) {
  YAML::Emitter out;
  out.SetMapFormat(YAML::Flow);
  out.SetSeqFormat(YAML::Flow);
  out.SetStringFormat(YAML::DoubleQuoted);
  out << YAML::BeginMap << YAML::Key << "chip" << YAML::Value << chip.name << YAML::Key << "memories" << YAML::Value
      << YAML::BeginSeq;
  for (const Memory& memory : chip.memories) Emit(memory, out);
  out << YAML::EndSeq << YAML::EndMap;
  // The emitter breaks long lines; no string of a chip holds a line's end.
  std::string text = out.c_str();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

void Check(const Chip& chip) {
  std::set<std::string> names;
  for (const Memory& memory : chip.memories) {
    const auto fail = [&](const std::string& what) { throw UsageError(fmt::format("{}: {}", memory.name, what)); };
    if (!names.insert(memory.name).second) fail("two memories have this name");
    if (memory.name.find_first_of("\r\n,") != std::string::npos) fail("a memory's name has no commas");
    for (const NumberKey& number : kNumberKeys) {
      const int value = memory.*number.field;
      if (value < number.low || value > number.high)
        fail(fmt::format("{}: {}, expected {} to {}", number.key, value, number.low, number.high));
    }
    if (memory.words_per_row % memory.interleaving != 0)
      fail(
          fmt::format("interleaving: {} does not divide words_per_row, {}", memory.interleaving, memory.words_per_row));
    if (memory.usable_bits() < memory.word_bits && memory.usable_bits() < 8)
      fail(fmt::format("word_bits: {} of them fill no 8 bits of whole cells", memory.word_bits));
    if (memory.encoding && *memory.encoding != *EncodingOf(chip))
      fail(fmt::format("encoding: {} here and {} in another memory; a chip has one", NameOf(*memory.encoding),
                       NameOf(*EncodingOf(chip))));
  }
}

std::optional<Encoding> EncodingOf(const Chip& chip) {
  for (const Memory& memory : chip.memories) {
    if (memory.encoding) return memory.encoding;
  }
  return std::nullopt;
}

}  // namespace steadfast::memory
