// Versions 2 and 3 of loss_eval's tiles, called by loss_eval.cu.
#pragma once

#include "kernels/cuda/loss_eval_parts.h"
#include "kernels/stream.h"

namespace templar::cuda {

// Leaves the task's sums and targets. False, and nothing done, where it cannot: rows that are not whole packs of 16
// bytes, another GPU than Hopper.
bool loss_eval_wgmma(Stream& stream, const LossEvalTask<__nv_bfloat16>& task, bool clusters);

}  // namespace templar::cuda
