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
  // Rows take no use of what these have beyond AVX2.
  if (set == InstructionSet::kAvx2 || set == InstructionSet::kAvxVnni || set == InstructionSet::kAvx512)
    return Avx2Kernels();
#endif
  (void)set;
  return PortableKernels();
}

const SliceKernels* SliceKernelsOf(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAmx) return &AmxSliceKernels();
  if (set == InstructionSet::kAvx512Vnni) return &VnniSliceKernels();
  if (set == InstructionSet::kAvx512) return &Avx512SliceKernels();
  if (set == InstructionSet::kAvxVnni) return &AvxVnniSliceKernels(HasAvxVnni());
  if (set == InstructionSet::kAvx2) return &Avx2SliceKernels();
#endif
#if defined(__aarch64__)
  if (set == InstructionSet::kNeonDot) return &NeonDotSliceKernels();
  if (set == InstructionSet::kNeon) return &NeonSliceKernels();
#endif
  (void)set;
  return nullptr;
}

}  // namespace steadfast::engine
