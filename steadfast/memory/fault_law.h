// What happens to a faulty cell: it flips, sticks, or does one of these by chance.
//
// A law decides each faulty cell's fault by at most one random number of the cell's own, never by what the memory
// holds, so that models of the same layout meet the same faults. To add a law, add a record to fault_law.cpp.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/memory/fault_map.h"  // FaultKind

namespace steadfast::memory {

struct FaultLaw {
  std::string_view name;    // "mixed"
  std::string_view syntax;  // "mixed:P1", as help texts and errors show it; without commas
  int parameters;           // how many follow the name, each from 0 to 1
  bool draws;               // whether it looks at `draw`
  // The fault of a faulty cell, or nothing. draw: uniform in (0, 1).
  std::optional<FaultKind> (*kind)(const std::array<double, 2>& parameters, double draw);
};

// All laws, in the order in which help texts name them.
const std::vector<FaultLaw>& FaultLaws();
std::string FaultLawSyntax();  // "flip, sa0, sa1, mixed:P1, …"

// A law with its parameters.
struct CellFault {
  const FaultLaw* law = &FaultLaws().front();  // flip
  std::array<double, 2> parameters = {};
  bool operator==(const CellFault&) const = default;
};

std::string NameOf(const CellFault& fault);       // "flip", "sa0", "sa1", "mixed:0.5", "asymmetric:1:0.1"
CellFault ParseCellFault(std::string_view text);  // throws UsageError
// Whether the text begins with a law's name.
bool IsCellFault(std::string_view text);

}  // namespace steadfast::memory
