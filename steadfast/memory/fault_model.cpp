#include "steadfast/memory/fault_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

FaultModel ParseOne(const std::string& text, const TableSource& tables) {
  const std::vector<std::string> pieces = Split(text, ':');
  if (pieces[0] == "transient") {
    if (pieces.size() == 1) throw UsageError("transient: give what happens anew in each image: transient:flip");
    FaultModel anew = ParseOne(text.substr(pieces[0].size() + 1), tables);
    if (anew.process().is_transient()) throw UsageError(fmt::format("fault: '{}': transient stands there once", text));
    return FaultModel(MakeTransient(std::move(anew)));
  }
  for (const FaultModelKind& kind : FaultModelKinds()) {
    if (kind.name == pieces[0]) return FaultModel(kind.parse(pieces, tables));
  }
  if (!IsCellFault(text)) throw UsageError(fmt::format("fault: '{}' is not one of {}", text, FaultModelSyntax()));
  return FaultModel(MakeCells(ParseCellFault(text)));
}

FaultModel ParseTargeted(const std::string& text, const TableSource& tables) {
  const std::vector<std::string> pieces = SplitOutside(text, '@');
  if (pieces.size() > 2) throw UsageError(fmt::format("fault: '{}' has more than one @", text));
  const FaultModel model = ParseOne(pieces[0], tables);
  if (pieces.size() == 1) return model;
  std::string where = pieces[1];  // several items stand in round brackets
  if (where.starts_with('(') && where.ends_with(')')) where = where.substr(1, where.size() - 2);
  return FaultModel(MakeTargeted(model, ParseWhere(where)));
}

}  // namespace

const std::vector<FaultModelKind>& FaultModelKinds() {
  static const std::vector<FaultModelKind> kinds = {kRowKind,     kColumnKind, kWordKind,    kBankKind, kBurstKind,
                                                    kClusterKind, kDriftKind,  kExactlyKind, kTableKind};
  return kinds;
}

std::string FaultModelSyntax() {
  std::string text = FaultLawSyntax();
  for (const FaultModelKind& kind : FaultModelKinds()) text += fmt::format(", {}", kind.syntax);
  return text + ", transient:MODEL";
}

FaultModel::FaultModel() : process_(MakeCells({})) {}

std::string NameOf(const FaultModel& model) {
  return model.process().text();
}

std::vector<std::string> SplitOutside(std::string_view text, char separator) {
  std::vector<std::string> pieces(1);
  int depth = 0;
  bool quoted = false;
  for (char c : text) {
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == '[' || c == '(')) ++depth;
    if (!quoted && (c == ']' || c == ')')) --depth;
    if (c == separator && depth == 0 && !quoted)
      pieces.emplace_back();
    else
      pieces.back() += c;
  }
  return pieces;
}

FaultModel ParseFaultModel(std::string_view text, const TableSource& tables) {
  const std::vector<std::string> parts = SplitOutside(text, '+');
  const bool weighted = SplitOutside(parts[0], '*').size() > 1;
  if (parts.size() == 1 && !weighted) return ParseTargeted(parts[0], tables);
  std::vector<std::pair<double, FaultModel>> models;
  for (const std::string& part : parts) {
    const std::vector<std::string> pieces = SplitOutside(part, '*');
    if (pieces.size() != 2)
      throw UsageError(
          fmt::format("fault: '{}': of a mixture, each part is SHARE*MODEL, as in 0.9*flip+0.1*row", part));
    models.emplace_back(ParseDouble(pieces[0], "fault: a part's share of the rate", 0, 1),
                        ParseTargeted(pieces[1], tables));
    if (!models.back().second.process().takes_rate())
      throw UsageError(fmt::format("fault: '{}': of a mixture, each part takes a share of the rate, and {} takes none",
                                   part, pieces[1]));
  }
  return FaultModel(MakeMixture(std::move(models)));
}

std::vector<FaultModel> ParseFaultModels(std::string_view text, const TableSource& tables) {
  std::vector<FaultModel> models;
  for (const std::string& piece : SplitOutside(text, ',')) models.push_back(ParseFaultModel(piece, tables));
  return models;
}

void CheckFaultModel(const MemoryImage& image, const FaultModel& model) {
  model.process().Check(Target{image});
}

FaultMap SampleFaults(PhiloxKey key, uint64_t trial, const MemoryImage& image, double rate, const FaultModel& model) {
  TimeOf(rate);  // checks it
  const Target target{image};
  FaultMap map = model.process().Sample(target, key, TrialWord(trial), rate);
  std::erase_if(map.faults, [&](const Fault& fault) { return !target.Holds(fault.bit); });
  return map;
}

void SampleFaultsOfImages(PhiloxKey key, uint64_t trial, const MemoryImage& image, double rate, const FaultModel& model,
                          ImageRange images, const TakeMap& take) {
  const Target target{image};
  const bool all_can_fail = std::all_of(image.arrays().begin(), image.arrays().end(),
                                        [](const MemoryArray& array) { return array.filters.empty(); });
  model.process().SampleImages(target, key, TrialWord(trial), rate, images, [&](int64_t number, FaultMap map) {
    if (!all_can_fail) std::erase_if(map.faults, [&](const Fault& fault) { return !target.Holds(fault.bit); });
    take(number, std::move(map));
  });
}

CellFault CellFaultFrom(const std::vector<std::string>& pieces, size_t first) {
  if (first >= pieces.size()) return {};
  return ParseCellFault(
      fmt::format("{}", fmt::join(pieces.begin() + static_cast<std::ptrdiff_t>(first), pieces.end(), ":")));
}

std::string SuffixOf(const CellFault& fault) {
  return fault == CellFault{} ? std::string() : fmt::format(":{}", NameOf(fault));
}

void FaultCollector::Add(BitAddress bit) {
  const uint32_t array = target_.image.arrays()[static_cast<size_t>(bit.array)].number;
  if (const auto kind = KindAt(key_, trial_, array, bit.cell, fault_)) map_.faults.push_back({bit, *kind});
}

void FaultCollector::AddWord(int memory, int64_t word) {
  const int bits = target_.image.chip().memories[static_cast<size_t>(memory)].word_bits;
  for (int bit = 0; bit < bits; ++bit) {
    if (const auto address = target_.image.BitAt(memory, word, bit)) Add(*address);
  }
}

FaultMap FaultCollector::Take() {
  return Overlaid({std::move(map_)});
}

}  // namespace steadfast::memory
