// What Steadfast uses of LibTorch: tensors, their derivatives, optimizers, archives. <torch/torch.h> has modules and
// data loaders beside it, which take a quarter longer to compile.
#pragma once

#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/optim.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>
