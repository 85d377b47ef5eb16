#include "steadfast/memory/fault_law.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"  // ParseDouble

namespace steadfast::memory {
namespace {

using Parameters = std::array<double, 2>;
using Kind = std::optional<FaultKind>;

// A cell that holds 0 becomes 1 with probability UP * rate; one that holds 1 becomes 0 with probability DOWN * rate.
// One random number decides both, so that the fault is drawn without knowing what the cell holds.
Kind Asymmetric(const Parameters& factors, double draw) {
  const bool up = draw < factors[0], down = draw < factors[1];
  if (up && down) return FaultKind::kFlip;
  if (up) return FaultKind::kStuckAt1;
  if (down) return FaultKind::kStuckAt0;
  return std::nullopt;
}

}  // namespace

const std::vector<FaultLaw>& FaultLaws() {
  static const std::vector<FaultLaw> laws = {
      {"flip", "flip", 0, false, [](const Parameters&, double) -> Kind { return FaultKind::kFlip; }},
      {"sa0", "sa0", 0, false, [](const Parameters&, double) -> Kind { return FaultKind::kStuckAt0; }},
      {"sa1", "sa1", 0, false, [](const Parameters&, double) -> Kind { return FaultKind::kStuckAt1; }},
      {"mixed", "mixed:P1", 1, true,
       [](const Parameters& p, double draw) -> Kind {
         return draw < p[0] ? FaultKind::kStuckAt1 : FaultKind::kStuckAt0;
       }},
      {"asymmetric", "asymmetric:UP:DOWN", 2, true, Asymmetric}};
  return laws;
}

std::string FaultLawSyntax() {
  std::vector<std::string_view> all;
  for (const FaultLaw& law : FaultLaws()) all.push_back(law.syntax);
  return fmt::format("{}", fmt::join(all, ", "));
}

std::string NameOf(const CellFault& fault) {
  std::string name(fault.law->name);
  for (int i = 0; i < fault.law->parameters; ++i) {
    name += ':';
    name += FormatShortest(fault.parameters[static_cast<size_t>(i)]);
  }
  return name;
}

CellFault ParseCellFault(std::string_view text) {
  const auto pieces = Split(text, ':');
  for (const FaultLaw& law : FaultLaws()) {
    if (law.name != pieces[0] || static_cast<int>(pieces.size()) != law.parameters + 1) continue;
    CellFault fault{&law};
    for (int i = 0; i < law.parameters; ++i) {
      const auto at = static_cast<size_t>(i);
      fault.parameters[at] = ParseDouble(pieces[at + 1], fmt::format("fault {}", law.syntax), 0.0, 1.0);
    }
    return fault;
  }
  throw UsageError(fmt::format("fault: '{}' is not one of {}", text, FaultLawSyntax()));
}

bool IsCellFault(std::string_view text) {
  const std::string name = Split(text, ':')[0];
  return std::any_of(FaultLaws().begin(), FaultLaws().end(), [&](const FaultLaw& law) { return law.name == name; });
}

}  // namespace steadfast::memory
