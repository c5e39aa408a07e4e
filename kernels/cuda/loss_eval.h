// The versions of loss_eval, oldest first (kernels/cuda/versions.cu gives them to the bench and the tests).
#pragma once

#include "kernels/stream.h"
#include "kernels/tensor.h"

namespace templar::cuda {

enum class LossEvalVersion {
    logits,          // v0: the logits of some rows in memory (matmul), then cross_entropy_forward
    mma_sync,        // v1: tiles of logits in registers, by mma.sync
    wgmma,           // v2: the same by wgmma, on Hopper and where rows are whole packs of 16 bytes; elsewhere v1
    wgmma_clusters  // v3: v2 in clusters of two blocks, each loading half of what both need of the head
};

// What loss_eval of the CUDA table uses. v2 and v3 wait for their first run on a GPU beside v1.
inline constexpr LossEvalVersion default_loss_eval_version = LossEvalVersion::mma_sync;

// As loss_eval of kernels/ops.h.
void loss_eval(Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels,
               LossEvalVersion version);

}  // namespace templar::cuda
