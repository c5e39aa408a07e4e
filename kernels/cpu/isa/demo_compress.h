// One DeMo step of one tensor (docs/protocol.md §5, §5.1).
#pragma once

#include "kernels/cpu/isa/table.h"

namespace templar::TEMPLAR_ISA {

void demo_compress(Stream& stream, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid,
                   DemoStep step);

}  // namespace templar::TEMPLAR_ISA
