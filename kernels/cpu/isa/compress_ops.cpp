#include "kernels/cpu/isa/table.h"

namespace templar::TEMPLAR_ISA {

void fill_compress_ops(Ops&) {}

}  // namespace templar::TEMPLAR_ISA
