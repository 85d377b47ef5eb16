#include "steadfast/engine/kernels/loops.h"
#include "steadfast/engine/kernels/sets.h"

namespace steadfast::engine {
namespace {

STEADFAST_PORTABLE_KERNELS(Portable, )

}  // namespace

const Kernels& PortableKernels() {
  static const Kernels kernels = STEADFAST_LOOPS(Portable, Portable::MakeQuad, Portable::Products);
  return kernels;
}

const Kernels& KernelsOf(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAmx) return AmxKernels();
  if (set == InstructionSet::kAvx512Vnni) return VnniKernels();
  if (set == InstructionSet::kAvx2) return Avx2Kernels();
#endif
  (void)set;
  return PortableKernels();
}

}  // namespace steadfast::engine
