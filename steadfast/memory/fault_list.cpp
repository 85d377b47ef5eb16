#include "steadfast/memory/fault_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"

namespace steadfast::memory {
namespace {

using nlohmann::json;

const std::vector<std::string>& ColumnsOf(AddressForm form) {
  static const std::vector<std::string> element = {"tensor", "index", "bit"}, word = {"memory", "word", "bit"},
                                        place = {"memory", "bank", "row", "column"};
  return form == AddressForm::kElement ? element : form == AddressForm::kWord ? word : place;
}
constexpr AddressForm kForms[] = {AddressForm::kElement, AddressForm::kWord, AddressForm::kPlace};

int ArrayNamed(const MemoryImage& image, const std::string& name) {
  std::vector<std::string> names;
  for (size_t a = 0; a < image.arrays().size(); ++a) {
    if (image.arrays()[a].name == name) return static_cast<int>(a);
    names.push_back(image.arrays()[a].name);
  }
  throw UsageError(fmt::format("tensor: the model has no '{}'{}", name, DidYouMean(name, names)));
}

int MemoryNamed(const MemoryImage& image, const std::string& name) {
  std::vector<std::string> names;
  for (size_t m = 0; m < image.chip().memories.size(); ++m) {
    if (image.chip().memories[m].name == name) return static_cast<int>(m);
    names.push_back(image.chip().memories[m].name);
  }
  throw UsageError(fmt::format("memory: chip {} has no '{}'{}; it has {}", image.chip().name, name,
                               DidYouMean(name, names), fmt::join(names, ", ")));
}

// A named cell: where it is, so that two names of one cell are seen, and what it holds.
struct NamedCell {
  PhysicalAddress place;
  std::optional<BitAddress> bit;
};

NamedCell CellNamed(AddressForm form, std::span<const std::string> fields, const MemoryImage& image) {
  if (form == AddressForm::kElement) {
    const int array = ArrayNamed(image, fields[0]);
    const MemoryArray& memory = image.arrays()[static_cast<size_t>(array)];
    const int64_t index = ParseInt(fields[1], "index", 0, memory.elements() - 1);
    const int64_t bit = ParseInt(fields[2], "bit", 0, memory.bits() - 1);
    const BitAddress address{array, index * memory.bits() + bit};
    return {image.PhysicalOf(address), address};
  }
  const int m = MemoryNamed(image, fields[0]);
  const Memory& memory = image.chip().memories[static_cast<size_t>(m)];
  if (form == AddressForm::kWord) {
    const int64_t word = ParseInt(fields[1], "word", 0, image.BanksOf(m) * memory.words_per_bank() - 1);
    const auto bit = static_cast<int>(ParseInt(fields[2], "bit", 0, memory.word_bits - 1));
    const PlaceInMemory place = PlaceOf(memory, image.BanksOf(m), word, bit);
    return {{m, place.bank, place.row, place.column}, image.BitAt(m, word, bit)};
  }
  const PhysicalAddress place{m, ParseInt(fields[1], "bank", 0, image.BanksOf(m) - 1),
                              ParseInt(fields[2], "row", 0, memory.rows_per_bank - 1),
                              ParseInt(fields[3], "column", 0, memory.columns() - 1)};
  return {place, image.BitAt(place)};
}

std::vector<std::string> FieldsOf(AddressForm form, BitAddress bit, const MemoryImage& image) {
  const MemoryArray& array = image.arrays()[static_cast<size_t>(bit.array)];
  const auto text = [](int64_t number) { return std::to_string(number); };
  if (form == AddressForm::kElement) return {array.name, text(bit.cell / array.bits()), text(bit.cell % array.bits())};
  const std::string& memory = image.memory_of(bit.array).name;
  const WordPosition position = image.PositionOf(bit);
  if (form == AddressForm::kWord) return {memory, text(array.first_word + position.word), text(position.bit)};
  const PhysicalAddress place = image.PhysicalOf(bit);
  return {memory, text(place.bank), text(place.row), text(place.column)};
}

// Lists from other tools may leave names with commas unquoted; such a name is everything between what stands before it
// and the `behind` last fields.
void JoinName(const MemoryImage& image, size_t before, size_t behind, std::vector<std::string>& fields) {
  if (fields.size() <= before + 1 + behind) return;
  const auto first = fields.begin() + static_cast<std::ptrdiff_t>(before);
  const auto end = fields.end() - static_cast<std::ptrdiff_t>(behind);
  const std::string name = fmt::format("{}", fmt::join(first, end, ","));
  for (const MemoryArray& array : image.arrays()) {
    if (array.name != name) continue;
    fields.erase(first + 1, end);
    fields[before] = name;
    return;
  }
}

// The form that a header tells, given what stands around the address.
std::optional<AddressForm> FormOfHeader(const std::vector<std::string>& header, size_t before, std::string_view last) {
  for (AddressForm form : kForms) {
    const auto& columns = ColumnsOf(form);
    if (header.size() != before + columns.size() + 1 || header.back() != last) continue;
    if (std::equal(columns.begin(), columns.end(), header.begin() + static_cast<std::ptrdiff_t>(before))) return form;
  }
  return std::nullopt;
}

std::string HeaderOf(AddressForm form, std::string_view before, std::string_view last) {
  return fmt::format("{}{},{}", before, fmt::join(ColumnsOf(form), ","), last);
}

std::string AllHeaders(std::string_view before, std::string_view last) {
  std::vector<std::string> all;
  for (AddressForm form : kForms) all.push_back(HeaderOf(form, before, last));
  return fmt::format("{}", fmt::join(all, " or "));
}

// What stands around the addresses in the columns of a file.
struct Around {
  size_t before;  // columns
  std::string_view before_text, last;
};

struct AddressedRow {
  AddressForm form;
  std::span<const std::string> fields, address;
};

// Whether the first columns of a header are those in front of addresses; `chip` is another word for `trial`.
bool BeginsAs(const Around& around, const std::vector<std::string>& header) {
  return around.before == 0 || header[0] == "trial" || header[0] == "chip";
}

// The rows of a CSV file behind its header, which tells how cells are named. A UsageError that `take` throws becomes an
// InputError that names the line.
void ReadAddressed(std::string_view csv, const MemoryImage& image, const std::string& name, const Around& around,
                   const std::function<void(const AddressedRow&)>& take) {
  std::optional<AddressForm> form;
  for (CsvRow& row : ParseCsv(csv, name)) {
    const auto fail = [&](const std::string& what) {
      throw InputError(fmt::format("{}: line {}: {}", name, row.line, what));
    };
    const std::string whole = fmt::format("{}", fmt::join(row.fields, ","));
    if (!form) {
      if (BeginsAs(around, row.fields)) form = FormOfHeader(row.fields, around.before, around.last);
      if (!form)
        fail(fmt::format("found '{}', expected the header {}", whole.substr(0, 80),
                         AllHeaders(around.before_text, around.last)));
      continue;
    }
    if (whole.empty()) continue;
    if (*form == AddressForm::kElement) JoinName(image, around.before, 3, row.fields);
    const size_t columns = ColumnsOf(*form).size(), expected = around.before + columns + 1;
    if (row.fields.size() != expected)
      fail(fmt::format("{} fields, expected {} ({})", row.fields.size(), expected,
                       HeaderOf(*form, around.before_text, around.last)));
    try {
      take({*form, row.fields, std::span<const std::string>(row.fields).subspan(around.before, columns)});
    } catch (const UsageError& error) {
      fail(error.what());
    }
  }
  if (!form)
    throw InputError(
        fmt::format("{}: is empty, expected the header {}", name, AllHeaders(around.before_text, around.last)));
}

// Takes faults one after the other, and sees that no cell is named twice.
class ListBuilder {
 public:
  explicit ListBuilder(const MemoryImage& image) : image_(image) {}

  void Add(uint64_t trial, const NamedCell& cell, FaultKind kind) {
    if (IsOfLevels(kind) && image_.chip().memories[static_cast<size_t>(cell.place.memory)].cell_bits == 1)
      throw UsageError(fmt::format("kind: '{}' is of cells of several bits, and those of {} have one", NameOf(kind),
                                   image_.chip().memories[static_cast<size_t>(cell.place.memory)].name));
    const PhysicalAddress named = IsOfLevels(kind) ? FirstOfCell(cell.place) : cell.place;
    if (!seen_.insert({trial, IsOfLevels(kind), named}).second) {
      const auto [m, bank, row, column] = cell.place;
      if (!cell.bit)
        throw UsageError(fmt::format("trial {} has two faults on the cell at bank {}, row {}, column {} of {}", trial,
                                     bank, row, column, image_.chip().memories[static_cast<size_t>(m)].name));
      const MemoryArray& array = image_.arrays()[static_cast<size_t>(cell.bit->array)];
      throw UsageError(fmt::format("trial {} has two faults on bit {} of {}[{}]; a cell has at most one", trial,
                                   cell.bit->cell % array.bits(), array.name, cell.bit->cell / array.bits()));
    }
    FaultMap& map = lists_[trial];
    if (cell.bit)
      map.faults.push_back({*cell.bit, kind});
    else
      ++idle_;
  }

  void AddTrial(uint64_t trial) { lists_[trial]; }

  FaultLists Take(int64_t* idle) {
    for (auto& [trial, map] : lists_) map = Overlaid({std::move(map)});
    if (idle != nullptr) *idle = idle_;
    return std::move(lists_);
  }

 private:
  // Where the cell of several bits begins that this one is of.
  PhysicalAddress FirstOfCell(const PhysicalAddress& at) const {
    const Memory& memory = image_.chip().memories[static_cast<size_t>(at.memory)];
    const int64_t banks = image_.BanksOf(at.memory);
    const WordPosition word = WordAtPlace(memory, banks, {at.bank, at.row, at.column});
    const PlaceInMemory first = PlaceOf(memory, banks, word.word, word.bit / memory.cell_bits * memory.cell_bits);
    return {at.memory, first.bank, first.row, first.column};
  }

  const MemoryImage& image_;
  FaultLists lists_;
  std::set<std::tuple<uint64_t, bool, PhysicalAddress>> seen_;  // trial, whether of levels, where
  int64_t idle_ = 0;
};

constexpr std::string_view kNoFault = "none";  // the kind of a trial without faults

uint64_t TrialOf(const std::string& text) {
  return static_cast<uint64_t>(ParseInt(text, "trial", 0, std::numeric_limits<uint32_t>::max()));
}

FaultLists ListsFromCsv(std::string_view csv, const MemoryImage& image, const std::string& name, int64_t* idle) {
  ListBuilder lists(image);
  ReadAddressed(csv, image, name, {1, "trial,", "kind"}, [&](const AddressedRow& row) {
    const uint64_t trial = TrialOf(row.fields[0]);
    if (row.fields.back() != kNoFault)
      lists.Add(trial, CellNamed(row.form, row.address, image), ParseFaultKind(row.fields.back()));
    else if (std::all_of(row.address.begin(), row.address.end(), [](const std::string& one) { return one.empty(); }))
      lists.AddTrial(trial);
    else
      throw UsageError("of kind none, a trial without faults: expected no address");
  });
  return lists.Take(idle);
}

// A value of a fault in JSON as text, so that numbers and strings are checked by the same functions.
std::string TextOf(const json& fault, const std::string& key) {
  if (!fault.contains(key)) throw UsageError(fmt::format("the key '{}' is missing", key));
  const json& value = fault.at(key);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

FaultLists ListsFromJson(std::string_view text, const MemoryImage& image, const std::string& name, int64_t* idle) {
  json document;
  try {
    document = json::parse(text);
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: {}", name, error.what()));
  }
  if (!document.is_object() || !document.contains("faults") || !document.at("faults").is_array())
    throw InputError(fmt::format("{}: expected an object with a list 'faults' (docs/formats.md)", name));
  if (document.contains("chip") && NamesPlaces(text, name) &&
      document.at("chip") != json::parse(ToText(image.chip()), nullptr, false))
    throw InputError(fmt::format("{}: its places are of another chip than {}: {}", name, image.chip().name,
                                 document.at("chip").dump()));
  ListBuilder lists(image);
  size_t place = 0;
  for (const json& fault : document.at("faults")) {
    try {
      if (!fault.is_object()) throw UsageError("expected an object");
      if (fault.value("kind", std::string()) == kNoFault) {
        lists.AddTrial(TrialOf(TextOf(fault, "trial")));
        ++place;
        continue;
      }
      std::optional<AddressForm> form;
      for (AddressForm one : kForms) {
        const auto& columns = ColumnsOf(one);
        if (std::all_of(columns.begin(), columns.end(), [&](const auto& key) { return fault.contains(key); }))
          form = one;
      }
      if (!form) throw UsageError(fmt::format("expected the keys {} and kind", AllHeaders("trial, ", "kind")));
      std::vector<std::string> address;
      for (const std::string& key : ColumnsOf(*form)) address.push_back(TextOf(fault, key));
      const std::string trial = fault.contains("trial") || !fault.contains("chip") ? "trial" : "chip";
      lists.Add(TrialOf(TextOf(fault, trial)), CellNamed(*form, address, image), ParseFaultKind(TextOf(fault, "kind")));
    } catch (const UsageError& error) {
      throw InputError(fmt::format("{}: faults[{}]: {}", name, place, error.what()));
    }
    ++place;
  }
  return lists.Take(idle);
}

}  // namespace

std::string_view NameOf(AddressForm form) {
  return form == AddressForm::kElement ? "element" : form == AddressForm::kWord ? "word" : "place";
}

AddressForm ParseAddressForm(std::string_view text) {
  for (AddressForm form : kForms) {
    if (NameOf(form) == text) return form;
  }
  throw UsageError(fmt::format("form of addresses: '{}' is not one of element, word, place", text));
}

std::string ToCsv(const FaultLists& lists, const MemoryImage& image, AddressForm form) {
  std::string csv = HeaderOf(form, "trial,", "kind") + "\n";
  for (const auto& [trial, map] : lists) {
    if (map.faults.empty()) csv += fmt::format("{}{},{}\n", trial, std::string(ColumnsOf(form).size(), ','), kNoFault);
    for (const Fault& fault : map.faults) {
      std::vector<std::string> fields = FieldsOf(form, fault.bit, image);
      fields[0] = CsvField(fields[0]);
      csv += fmt::format("{},{},{}\n", trial, fmt::join(fields, ","), NameOf(fault.kind));
    }
  }
  return csv;
}

std::string ToJson(const FaultLists& lists, const MemoryImage& image, AddressForm form) {
  json faults = json::array();
  for (const auto& [trial, map] : lists) {
    if (map.faults.empty()) faults.push_back({{"trial", trial}, {"kind", kNoFault}});
    for (const Fault& fault : map.faults) {
      const std::vector<std::string> fields = FieldsOf(form, fault.bit, image);
      json one = {{"trial", trial}, {"kind", NameOf(fault.kind)}};
      for (size_t i = 0; i < fields.size(); ++i)
        one[ColumnsOf(form)[i]] = i == 0 ? json(fields[i]) : json(std::stoll(fields[i]));
      faults.push_back(std::move(one));
    }
  }
  return json({{"schema", 1}, {"chip", json::parse(ToText(image.chip()))}, {"faults", faults}}).dump(1) + "\n";
}

FaultLists FaultListsFromText(std::string_view text, const MemoryImage& image, const std::string& name, int64_t* idle) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{' ? ListsFromJson(text, image, name, idle)
                                                               : ListsFromCsv(text, image, name, idle);
}

bool NamesPlaces(std::string_view text, const std::string& name) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return false;
  if (text[first] != '{') return text.substr(0, text.find('\n')).find("tensor") == std::string_view::npos;
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object() || !document.contains("faults"))
    throw InputError(fmt::format("{}: expected an object with a list 'faults' (docs/formats.md)", name));
  for (const json& fault : document.at("faults")) {
    if (fault.is_object() && fault.contains("memory")) return true;
  }
  return false;
}

std::vector<std::pair<BitAddress, double>> RatesFromCsv(std::string_view csv, const MemoryImage& image,
                                                        const std::string& name) {
  std::vector<std::pair<BitAddress, double>> rates;
  std::set<PhysicalAddress> seen;
  ReadAddressed(csv, image, name, {0, "", "rate"}, [&](const AddressedRow& row) {
    const NamedCell cell = CellNamed(row.form, row.address, image);
    if (!seen.insert(cell.place).second) throw UsageError("this cell has a rate already");
    const double rate = ParseDouble(row.fields.back(), "rate", 0, 1);
    if (cell.bit) rates.emplace_back(*cell.bit, rate);
  });
  return rates;
}

}  // namespace steadfast::memory
