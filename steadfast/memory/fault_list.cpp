#include "steadfast/memory/fault_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"

namespace steadfast::memory {
namespace {

constexpr std::string_view kHeader = "trial,tensor,index,bit,kind";

int ArrayNamed(const MemoryImage& image, const std::string& name) {
  std::vector<std::string> names;
  for (size_t a = 0; a < image.arrays().size(); ++a) {
    if (image.arrays()[a].name == name) return static_cast<int>(a);
    names.push_back(image.arrays()[a].name);
  }
  throw UsageError(fmt::format("tensor: the model has no '{}'{}", name, DidYouMean(name, names)));
}

Fault ParseFault(const std::vector<std::string>& fields, const MemoryImage& image) {
  const int array = ArrayNamed(image, fields[1]);
  const MemoryArray& memory = image.arrays()[static_cast<size_t>(array)];
  const int64_t index = ParseInt(fields[2], "index", 0, memory.elements() - 1);
  const int64_t bit = ParseInt(fields[3], "bit", 0, memory.bits() - 1);
  return {{array, index * memory.bits() + bit}, ParseFaultKind(fields[4])};
}

// Lists from other tools may leave names with commas unquoted; such a name is everything between the trial and the last
// three fields.
void JoinName(const MemoryImage& image, std::vector<std::string>& fields) {
  if (fields.size() <= 5) return;
  const auto end = fields.end() - 3;
  const std::string name = fmt::format("{}", fmt::join(fields.begin() + 1, end, ","));
  for (const MemoryArray& array : image.arrays()) {
    if (array.name != name) continue;
    fields.erase(fields.begin() + 2, end);
    fields[1] = name;
    return;
  }
}

}  // namespace

std::string ToCsv(const FaultLists& lists, const MemoryImage& image) {
  std::string csv(kHeader);
  csv += '\n';
  for (const auto& [trial, map] : lists) {
    for (const Fault& fault : map.faults) {
      const MemoryArray& array = image.arrays()[static_cast<size_t>(fault.bit.array)];
      csv += fmt::format("{},{},{},{},{}\n", trial, CsvField(array.name), fault.bit.cell / array.bits(),
                         fault.bit.cell % array.bits(), NameOf(fault.kind));
    }
  }
  return csv;
}

FaultLists FaultListsFromCsv(std::string_view csv, const MemoryImage& image, const std::string& name) {
  FaultLists lists;
  bool header = true;
  for (CsvRow& row : ParseCsv(csv, name)) {
    const auto fail = [&](const std::string& what) {
      throw InputError(fmt::format("{}: line {}: {}", name, row.line, what));
    };
    const std::string whole = fmt::format("{}", fmt::join(row.fields, ","));
    if (header) {
      if (whole != kHeader) fail(fmt::format("found '{}', expected the header {}", whole.substr(0, 80), kHeader));
      header = false;
      continue;
    }
    if (whole.empty()) continue;
    JoinName(image, row.fields);
    if (row.fields.size() != 5) fail(fmt::format("{} fields, expected 5 ({})", row.fields.size(), kHeader));
    try {
      const auto trial =
          static_cast<uint64_t>(ParseInt(row.fields[0], "trial", 0, std::numeric_limits<uint32_t>::max()));
      lists[trial].faults.push_back(ParseFault(row.fields, image));
    } catch (const UsageError& error) {
      fail(error.what());
    }
  }
  if (header) throw InputError(fmt::format("{}: is empty, expected the header {}", name, kHeader));
  for (auto& [trial, map] : lists) {
    std::sort(map.faults.begin(), map.faults.end(), [](const Fault& a, const Fault& b) { return a.bit < b.bit; });
    const auto twice = std::adjacent_find(map.faults.begin(), map.faults.end(),
                                          [](const Fault& a, const Fault& b) { return a.bit == b.bit; });
    if (twice != map.faults.end()) {
      const MemoryArray& array = image.arrays()[static_cast<size_t>(twice->bit.array)];
      throw InputError(fmt::format("{}: trial {} has two faults on bit {} of {}[{}]; a cell has at most one", name,
                                   trial, twice->bit.cell % array.bits(), array.name, twice->bit.cell / array.bits()));
    }
  }
  return lists;
}

}  // namespace steadfast::memory
