// One set of kernels a file. Internal to the kernels.
#pragma once

#include "steadfast/engine/kernels.h"
#include "steadfast/engine/slices.h"

namespace steadfast::engine {

const Kernels& PortableKernels();
#if defined(__x86_64__)
const Kernels& Avx2Kernels();
const Kernels& VnniKernels();
const Kernels& AmxKernels();

const SliceKernels& Avx2SliceKernels();
const SliceKernels& AvxVnniSliceKernels(bool has_avx_vnni);  // otherwise the machine must have AVX-512 VNNI
const SliceKernels& Avx512SliceKernels();
const SliceKernels& VnniSliceKernels();
const SliceKernels& AmxSliceKernels();
#endif
#if defined(__aarch64__)
const SliceKernels& NeonSliceKernels();
const SliceKernels& NeonDotSliceKernels();
#endif

}  // namespace steadfast::engine
