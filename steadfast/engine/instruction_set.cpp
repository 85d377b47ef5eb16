#include "steadfast/engine/instruction_set.h"

#include <fmt/format.h>

#include <cstdlib>

#include "steadfast/base/error.h"

#if defined(__x86_64__)
#define STEADFAST_X86 1
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace steadfast::engine {
namespace {

#if STEADFAST_X86
// Whether there are AMX tiles with int8 products, and the system permits their use.
bool TilesAreAllowed() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;  // CPUID leaf 7, EDX
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kAmxTile) == 0 || (d & kAmxInt8) == 0) return false;
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

}  // namespace

std::string_view NameOf(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvxVnni:
      return "avx-vnni";
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx512Vnni:
      return "avx512-vnni";
    case InstructionSet::kAmx:
      return "amx-int8";
    case InstructionSet::kNeon:
      return "neon";
    case InstructionSet::kNeonDot:
      return "neon-dotprod";
  }
  return "?";
}

bool HasAvxVnni() {
#if STEADFAST_X86
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAvxVnni = 1u << 4;  // CPUID leaf 7, subleaf 1, EAX
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
#else
  return false;
#endif
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kPortable};
#if STEADFAST_X86
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool has_avx512_vnni = has_avx512 && __builtin_cpu_supports("avx512vnni");
  if (__builtin_cpu_supports("avx2")) sets.push_back(InstructionSet::kAvx2);
  if (HasAvxVnni() || has_avx512_vnni) sets.push_back(InstructionSet::kAvxVnni);
  if (has_avx512) sets.push_back(InstructionSet::kAvx512);
  if (has_avx512_vnni) {
    sets.push_back(InstructionSet::kAvx512Vnni);
    if (TilesAreAllowed()) sets.push_back(InstructionSet::kAmx);
  }
#endif
#if defined(__aarch64__)
  sets.push_back(InstructionSet::kNeon);
#if defined(__linux__)
  constexpr unsigned long kDotProducts = 1ul << 20;  // HWCAP_ASIMDDP
  if ((getauxval(AT_HWCAP) & kDotProducts) != 0) sets.push_back(InstructionSet::kNeonDot);
#endif
#endif
  return sets;
}

InstructionSet ParseInstructionSet(std::string_view name) {
  std::vector<std::string_view> names;
  for (InstructionSet set : SupportedInstructionSets()) {
    if (NameOf(set) == name) return set;
    names.push_back(NameOf(set));
  }
  throw UsageError(
      fmt::format("instruction set: '{}' is not one that this machine has: {}", name, fmt::join(names, ", ")));
}

InstructionSet BestInstructionSet() {
  static const InstructionSet best = [] {
    const char* chosen = std::getenv("STEADFAST_INSTRUCTION_SET");
    if (chosen == nullptr || *chosen == 0) return SupportedInstructionSets().back();
    try {
      return ParseInstructionSet(chosen);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("STEADFAST_INSTRUCTION_SET: {}", error.what()));
    }
  }();
  return best;
}

}  // namespace steadfast::engine
