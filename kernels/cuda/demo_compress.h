// demo_compress with a limit of its own on scratch memory, at least 16 KiB: so that a test sees what happens beyond the
// limit without a tensor of its size.
#pragma once

#include "kernels/ops.h"

namespace templar::cuda {

void demo_compress(Stream& stream, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid, DemoStep step,
                   int64_t scratch_limit);

}  // namespace templar::cuda
