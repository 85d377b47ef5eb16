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
  const int64_t index = ParseInt(fields[2], "index", 0, memory.codes() - 1);
  const int64_t bit = ParseInt(fields[3], "bit", 0, memory.format.bits - 1);
  return {{array, index * memory.format.bits + bit}, ParseFaultKind(fields[4])};
}

}  // namespace

std::string ToCsv(const FaultLists& lists, const MemoryImage& image) {
  std::string csv(kHeader);
  csv += '\n';
  for (const auto& [trial, map] : lists) {
    for (const Fault& fault : map.faults) {
      const MemoryArray& array = image.arrays()[static_cast<size_t>(fault.bit.array)];
      csv += fmt::format("{},{},{},{},{}\n", trial, array.name, fault.bit.cell / array.format.bits,
                         fault.bit.cell % array.format.bits, NameOf(fault.kind));
    }
  }
  return csv;
}

FaultLists FaultListsFromCsv(std::string_view csv, const MemoryImage& image, const std::string& name) {
  FaultLists lists;
  int line_number = 0;
  for (const std::string& raw : Split(csv, '\n')) {
    ++line_number;
    std::string line = raw;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const auto fail = [&](const std::string& what) {
      throw InputError(fmt::format("{}: line {}: {}", name, line_number, what));
    };
    if (line_number == 1) {
      if (line != kHeader) fail(fmt::format("found '{}', expected the header {}", line.substr(0, 80), kHeader));
      continue;
    }
    if (line.empty()) continue;
    const auto fields = Split(line, ',');
    if (fields.size() != 5) fail(fmt::format("{} fields, expected 5 ({})", fields.size(), kHeader));
    try {
      const auto trial = static_cast<uint64_t>(ParseInt(fields[0], "trial", 0, std::numeric_limits<uint32_t>::max()));
      lists[trial].faults.push_back(ParseFault(fields, image));
    } catch (const UsageError& error) {
      fail(error.what());
    }
  }
  if (line_number == 0) throw InputError(fmt::format("{}: is empty, expected the header {}", name, kHeader));
  for (auto& [trial, map] : lists) {
    std::sort(map.faults.begin(), map.faults.end(), [](const Fault& a, const Fault& b) { return a.bit < b.bit; });
    const auto twice = std::adjacent_find(map.faults.begin(), map.faults.end(),
                                          [](const Fault& a, const Fault& b) { return a.bit == b.bit; });
    if (twice != map.faults.end()) {
      const MemoryArray& array = image.arrays()[static_cast<size_t>(twice->bit.array)];
      throw InputError(fmt::format("{}: trial {} has two faults on bit {} of {}[{}]; a cell has at most one", name,
                                   trial, twice->bit.cell % array.format.bits, array.name,
                                   twice->bit.cell / array.format.bits));
    }
  }
  return lists;
}

}  // namespace steadfast::memory
