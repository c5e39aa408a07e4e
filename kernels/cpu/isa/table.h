// The CPU operations of one instruction set. The .cpp files of this folder are compiled once per instruction set
// (CMakeLists.txt: kernel_isa), each time into the namespace templar::TEMPLAR_ISA. They use no inline function of
// another header with external linkage that a compiler might not inline: the linker would keep one copy for all
// instruction sets.
#pragma once

#include "kernels/ops.h"

#ifndef TEMPLAR_ISA
#error "compiled once per instruction set: see kernel_isa in CMakeLists.txt"
#endif

namespace templar::TEMPLAR_ISA {

void fill_model_ops(Ops& ops);     // embedding … optimiser
void fill_compress_ops(Ops& ops);  // compression
void fill_exact_ops(Ops& ops);     // global update
Ops make_ops();

}  // namespace templar::TEMPLAR_ISA
