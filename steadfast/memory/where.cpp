#include "steadfast/memory/where.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"           // Split, ParseInt, DidYouMean
#include "steadfast/model/value_faults.h"  // StoredValues

namespace steadfast::memory {
namespace {

using model::Role;

struct RoleWord {
  std::string_view word;
  std::vector<Role> roles;
};

const std::vector<RoleWord>& RoleWords() {
  static const std::vector<RoleWord> words = {{"weights", {Role::kWeight}},
                                              {"biases", {Role::kBias}},
                                              {"scales", {Role::kScale}},
                                              {"normalization", {Role::kMultiplier, Role::kMean, Role::kVariance}},
                                              {"activation-scales", {Role::kActivationScale}}};
  return words;
}

constexpr std::string_view kAll = "all", kActivations = "activations";

std::string RoleSyntax() {
  std::string text;
  for (const RoleWord& word : RoleWords()) text += fmt::format("{}, ", word.word);
  return text + "all, activations";
}

// Whether something is of the role of the word ("": of any).
bool IsOfRole(std::string_view word, const Selectable& selectable) {
  if (word.empty()) return true;
  if (word == kActivations || selectable.is_activation) return word == kActivations && selectable.is_activation;
  if (word == kAll) return true;
  const Role role = selectable.role;
  for (const RoleWord& known : RoleWords()) {
    if (known.word == word) return std::find(known.roles.begin(), known.roles.end(), role) != known.roles.end();
  }
  return false;
}

bool IsRoleWord(std::string_view word) {
  return word == kAll || word == kActivations ||
         std::any_of(RoleWords().begin(), RoleWords().end(), [&](const RoleWord& known) { return known.word == word; });
}

struct Item {
  std::string role, name;  // empty: any
  bool is_exact = false;   // the name is a parameter's, not a layer's
  CellFilter filter;
};

constexpr int64_t kMostSignificant = -1'000;  // stands for the top bit until the parameter is known

std::vector<NumberRange> ParseRanges(const std::string& text, const std::string& key, int64_t msb) {
  std::vector<NumberRange> ranges;
  const auto number = [&](const std::string& piece) {
    if (key == "bit" && piece == "msb") return msb;
    return ParseInt(piece, fmt::format("--where: {}=", key), key == "code" ? -256 : 0, int64_t{1} << 48);
  };
  for (const std::string& piece : Split(text, '|')) {
    const size_t dots = piece.find("..");
    NumberRange range{};
    range.low = number(piece.substr(0, dots));
    range.high = dots == std::string::npos ? range.low : number(piece.substr(dots + 2));
    const bool open = range.low == kMostSignificant || range.high == kMostSignificant;  // known with the parameter
    if (range.low > range.high && !open) throw UsageError(fmt::format("--where: {}={} is empty", key, piece));
    ranges.push_back(range);
  }
  return ranges;
}

CellFilter ParseFilter(const std::string& text) {
  CellFilter filter;
  for (const std::string& piece : Split(text, ';')) {
    const size_t equals = piece.find('=');
    const std::string key = piece.substr(0, equals);
    std::vector<NumberRange>* const ranges = key == "bit"       ? &filter.bits
                                             : key == "channel" ? &filter.channels
                                             : key == "code"    ? &filter.codes
                                             : key == "bank"    ? &filter.banks
                                                                : nullptr;
    if (equals == std::string::npos || ranges == nullptr)
      throw UsageError(fmt::format(
          "--where: [{}]: '{}' is not one of bit=, channel=, code=, bank= and numbers (3, 0..2, 1|5..7)", text, piece));
    const std::vector<NumberRange> more = ParseRanges(piece.substr(equals + 1), key, kMostSignificant);
    ranges->insert(ranges->end(), more.begin(), more.end());
  }
  return filter;
}

// The items of a text, given the names that parameters have.
class WhereParser {
 public:
  WhereParser(std::string_view text, std::vector<std::string> names) : text_(text), names_(std::move(names)) {
    // The longest name wins where several fit.
    std::sort(names_.begin(), names_.end(),
              [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  }

  std::vector<Item> Parse() {
    std::vector<Item> items;
    do {
      items.push_back(ParseItem());
    } while (Take(','));
    if (place_ < text_.size()) Fail();
    return items;
  }

 private:
  [[noreturn]] void Fail() const {
    throw UsageError(
        fmt::format("--where: '{}': did not expect '{}'; items are ROLE, NAME or ROLE:NAME with "
                    "[bit=3] or the like behind them, separated by commas; ROLE: {}",
                    text_, text_.substr(place_), RoleSyntax()));
  }

  bool Take(char expected) {
    if (place_ >= text_.size() || text_[place_] != expected) return false;
    ++place_;
    return true;
  }

  bool EndsAt(size_t place) const { return place >= text_.size() || text_[place] == ',' || text_[place] == '['; }

  // A parameter's exact name that stands here, up to the end of the item.
  std::optional<std::string> TakeExactName() {
    for (const std::string& name : names_) {
      if (!text_.substr(place_).starts_with(name) || !EndsAt(place_ + name.size())) continue;
      place_ += name.size();
      return name;
    }
    return std::nullopt;
  }

  std::string TakeUntil(std::string_view ends) {
    const size_t end = std::min(text_.find_first_of(ends, place_), text_.size());
    std::string piece(text_.substr(place_, end - place_));
    place_ = end;
    return piece;
  }

  void ParseName(Item& item) {
    if (Take('"')) {
      item.name = TakeUntil("\"");
      if (!Take('"')) Fail();
      item.is_exact = std::find(names_.begin(), names_.end(), item.name) != names_.end();
    } else if (const auto exact = TakeExactName()) {
      item.name = *exact;
      item.is_exact = true;
    } else {
      item.name = TakeUntil(",[");
      if (item.name.empty()) Fail();
    }
  }

  Item ParseItem() {
    Item item;
    const size_t start = place_;
    const std::string word = TakeUntil(",[:\"");
    if (IsRoleWord(word) && EndsAt(place_)) {
      item.role = word;
    } else if (place_ = start; const auto exact = TakeExactName()) {
      item.name = *exact;
      item.is_exact = true;
    } else if (IsRoleWord(word) && text_.substr(start + word.size()).starts_with(':')) {
      place_ = start + word.size() + 1;
      item.role = word;
      ParseName(item);
    } else {
      ParseName(item);
    }
    if (Take('[')) {
      item.filter = ParseFilter(TakeUntil("]"));
      if (!Take(']')) Fail();
    }
    if (!EndsAt(place_) || (place_ < text_.size() && text_[place_] == '[')) Fail();
    return item;
  }

  std::string_view text_;
  std::vector<std::string> names_;
  size_t place_ = 0;
};

bool IsOfLayer(const std::string& parameter, const std::string& layer) {
  return parameter.size() > layer.size() && parameter.starts_with(layer) &&
         (parameter[layer.size()] == '.' || parameter[layer.size()] == '/');
}

void CheckFilter(const Item& item, const Selectable& parameter) {
  if (!item.filter.codes.empty() &&
      (parameter.is_activation || parameter.format.kind != model::StorageFormat::Kind::kCodes))
    throw UsageError(
        fmt::format("--where: code= is of quantized weights, and {} is {}", parameter.name,
                    parameter.is_activation ? "a buffer" : "stored as " + model::NameOf(parameter.format)));
}

bool IsAmong(int64_t number, const std::vector<NumberRange>& ranges) {
  if (ranges.empty()) return true;
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const NumberRange& range) { return number >= range.low && number <= range.high; });
}

}  // namespace

bool CellFilter::Holds(int64_t bit, int64_t channel, int64_t code, int64_t bank) const {
  return !is_void && IsAmong(bit, bits) && IsAmong(channel, channels) && IsAmong(code, codes) && IsAmong(bank, banks);
}

const std::string& NameOf(const Where& where) {
  return where.text;
}

Where ParseWhere(std::string_view text) {
  const std::vector<std::string> pieces = Split(text, ',');
  if (text.empty()) throw UsageError(fmt::format("--where: is empty, expected some of {}, or names", RoleSyntax()));
  if (!std::all_of(pieces.begin(), pieces.end(), IsRoleWord)) return {std::string(text)};
  // "all" has always been kept as the list of its roles.
  const bool all = std::find(pieces.begin(), pieces.end(), kAll) != pieces.end();
  std::vector<std::string_view> ordered;
  for (const RoleWord& known : RoleWords()) {
    if (all || std::find(pieces.begin(), pieces.end(), known.word) != pieces.end()) ordered.push_back(known.word);
  }
  if (std::find(pieces.begin(), pieces.end(), kActivations) != pieces.end()) ordered.push_back(kActivations);
  return {fmt::format("{}", fmt::join(ordered, ","))};
}

std::vector<std::vector<CellFilter>> Select(const Where& where, std::span<const Selectable> parameters) {
  std::vector<std::string> names;
  for (const Selectable& parameter : parameters) {
    if (!parameter.is_fixed) names.push_back(parameter.name);
  }
  std::vector<std::vector<CellFilter>> selected(parameters.size());
  int number = 0;
  for (const Item& item : WhereParser(where.text, names).Parse()) {
    const int own_number = number++;
    bool found = item.name.empty();  // a role may be empty
    for (size_t p = 0; p < parameters.size(); ++p) {
      const Selectable& parameter = parameters[p];
      if (parameter.is_fixed || !IsOfRole(item.role, parameter)) continue;
      const bool layers = !item.is_exact && (!parameter.is_activation || item.role == kActivations);
      if (!item.name.empty() && parameter.name != item.name && !(layers && IsOfLayer(parameter.name, item.name)))
        continue;
      found = true;
      CheckFilter(item, parameter);
      CellFilter filter = item.filter;
      for (NumberRange& range : filter.bits) {
        const int64_t top = parameter.format.bits() - 1;
        if (range.low == kMostSignificant) range.low = top;
        if (range.high == kMostSignificant) range.high = top;
      }
      std::erase_if(filter.bits, [](const NumberRange& range) { return range.low > range.high; });
      filter.is_void = filter.bits.empty() && !item.filter.bits.empty();
      filter.item = own_number;
      selected[p].push_back(std::move(filter));
    }
    if (!found)
      throw UsageError(fmt::format("--where: the model has no {}{}parameter or layer '{}'{}; it has {} (roles: {})",
                                   item.role, item.role.empty() ? "" : " ", item.name, DidYouMean(item.name, names),
                                   fmt::join(names, ", "), RoleSyntax()));
  }
  return selected;
}

std::vector<Selectable> SelectablesOf(const model::QuantizedModel& model) {
  std::vector<Selectable> all;
  for (const model::Parameter& parameter : model.parameters)
    all.push_back({parameter.name, parameter.role, parameter.format, parameter.is_fixed});
  for (int v : model::StoredValues(model)) {
    const model::Value& value = model.value(v);
    model::StorageFormat format;
    format.codes = {.bits = value.coding->bits, .is_signed = value.coding->is_signed};
    all.push_back({.name = value.name, .role = Role::kWeight, .format = format, .is_activation = true});
  }
  return all;
}

}  // namespace steadfast::memory
