#include "kernels/cpu/isa/table.h"

namespace templar::TEMPLAR_ISA {

void fill_model_ops(Ops&) {}

}  // namespace templar::TEMPLAR_ISA
