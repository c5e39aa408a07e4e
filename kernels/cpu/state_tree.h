// The hash tree over the weights on the CPU; the same for every instruction set.
#pragma once

#include "kernels/ops.h"

namespace templar {

void cpu_state_tree(Stream& stream, Tensor nodes, Tensor leaves, Tensor theta, std::span<const int64_t> first);

}  // namespace templar
