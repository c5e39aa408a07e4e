#include "kernels/cpu/isa/table.h"

namespace templar::TEMPLAR_ISA {

Ops make_ops() {
    Ops ops{};
    fill_model_ops(ops);
    fill_compress_ops(ops);
    fill_exact_ops(ops);
    return ops;
}

}  // namespace templar::TEMPLAR_ISA
