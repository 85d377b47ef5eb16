// The instruction sets that the engine has kernels for, chosen when a program runs.
#pragma once

#include <string_view>
#include <vector>

namespace steadfast::engine {

enum class InstructionSet { kPortable, kAvx2, kAvx512Vnni, kAmx };

std::string_view NameOf(InstructionSet set);             // "avx512-vnni"
std::vector<InstructionSet> SupportedInstructionSets();  // of this machine, slowest first
InstructionSet BestInstructionSet();
// Throws UsageError where there is none of this name, or not on this machine.
InstructionSet ParseInstructionSet(std::string_view name);

}  // namespace steadfast::engine
