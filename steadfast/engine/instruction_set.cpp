#include "steadfast/engine/instruction_set.h"

#if defined(__x86_64__)
#define STEADFAST_X86 1
#endif

namespace steadfast::engine {

std::string_view NameOf(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512Vnni:
      return "avx512-vnni";
  }
  return "?";
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kPortable};
#if STEADFAST_X86
  if (__builtin_cpu_supports("avx2")) sets.push_back(InstructionSet::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
    sets.push_back(InstructionSet::kAvx512Vnni);
  }
#endif
  return sets;
}

InstructionSet BestInstructionSet() {
  return SupportedInstructionSets().back();
}

}  // namespace steadfast::engine
