// One set of kernels a file. Internal to the kernels.
#pragma once

#include "steadfast/engine/kernels.h"

namespace steadfast::engine {

const Kernels& PortableKernels();
#if defined(__x86_64__)
const Kernels& Avx2Kernels();
const Kernels& VnniKernels();
const Kernels& AmxKernels();
#endif

}  // namespace steadfast::engine
