// The versions of loss_eval, oldest first: the bench times each, gpu-check compares them.
#pragma once

#include "kernels/stream.h"
#include "kernels/tensor.h"

namespace templar::cuda {

enum class LossEvalVersion {
    logits,     // v0: logits of some rows in memory (matmul), then cross_entropy_forward
    mma_sync,   // v1: tiles of logits in registers, mma.sync fed by cp.async; fp32: FFMA. Any GPU from sm_80 on
    wgmma       // v2: the same on Hopper's own instructions (sm_90a): wgmma fed by TMA. bf16, C a multiple of 8
};

// What loss_eval of the CUDA table uses. wgmma waits for its first run on a GPU beside mma_sync.
inline constexpr LossEvalVersion default_loss_eval_version = LossEvalVersion::mma_sync;

// As loss_eval of kernels/ops.h. `logits` (rows >= 1, V), of hidden's type, is used by LossEvalVersion::logits alone.
// Throws Error(usage) when the version cannot run on these tensors or on this GPU.
void loss_eval(Stream& stream, Tensor losses, Tensor hidden, Tensor head, Tensor labels, Tensor logits,
               LossEvalVersion version);

}  // namespace templar::cuda
