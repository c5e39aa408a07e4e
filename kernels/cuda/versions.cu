#include "kernels/cuda/versions.h"

#include "kernels/cuda/loss_eval.h"
#include "kernels/cuda/ops.h"

namespace templar::cuda {

namespace {

template <LossEvalVersion version>
void loss_eval_by(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels, Tensor) {
    loss_eval(stream, losses, greedy, hidden, head, labels, version);
}

// The CUDA table with another function in one slot.
template <class Function>
OpsVersion version(const char* op, const char* name, Function* Ops::*slot, Function* function, double limit = -1) {
    OpsVersion result{op, name, ops(), limit};
    result.ops.*slot = function;
    return result;
}

}  // namespace

std::vector<OpsVersion> ops_versions() {
    using enum LossEvalVersion;
    return {version("loss_eval", "v0, logits in memory", &Ops::loss_eval, &loss_eval_by<logits>,
                    2e-5),  // its logits are rounded to bf16
            version("loss_eval", "v1, mma.sync", &Ops::loss_eval, &loss_eval_by<mma_sync>),
            version("loss_eval", "v2, wgmma", &Ops::loss_eval, &loss_eval_by<wgmma>),
            version("loss_eval", "v3, wgmma in clusters", &Ops::loss_eval, &loss_eval_by<wgmma_clusters>)};
}

}  // namespace templar::cuda
