// The instruction sets that the engine has kernels for, chosen when a program runs.
#pragma once

#include <string_view>
#include <vector>

namespace steadfast::engine {

enum class InstructionSet { kPortable, kAvx2, kAvxVnni, kAvx512, kAvx512Vnni, kAmx, kNeon, kNeonDot };

std::string_view NameOf(InstructionSet set);  // "avx512-vnni"
// Of this machine, slowest first. AVX-512 VNNI counts as AVX-VNNI as well: it has the same instructions.
std::vector<InstructionSet> SupportedInstructionSets();
bool HasAvxVnni();
// The fastest of them, or the one that the environment variable STEADFAST_INSTRUCTION_SET names. Throws as
// ParseInstructionSet does.
InstructionSet BestInstructionSet();
// Throws UsageError where there is none of this name, or not on this machine.
InstructionSet ParseInstructionSet(std::string_view name);

}  // namespace steadfast::engine
