// Stands in for the launchers of kernels/cuda/ops.h whose .cu file is not in this tree yet; goes when all are.
#include "kernels/cuda/ops.h"

#include "base/error.h"

#define MISSING(name, ...) \
    __attribute__((weak)) void name(Stream&, __VA_ARGS__) { fail(ExitCode::internal, "{}: not written yet", #name); }

namespace templar::cuda {

using T = Tensor;
MISSING(embedding_forward, T, T, T)
MISSING(embedding_backward, T, T, T)
MISSING(rmsnorm_forward, T, T, T, T, float)
MISSING(add_rmsnorm_forward, T, T, T, T, T, T, float)
MISSING(rmsnorm_backward, T, T, T, T, T, T, T)
MISSING(rope_table, T, float)
MISSING(rope_forward, T, T, T, int64_t)
MISSING(rope_backward, T, T, T, int64_t)
MISSING(attention_forward, T, T, T)
MISSING(attention_backward, T, T, T, T, T, T)
MISSING(swiglu_forward, T, T)
MISSING(swiglu_backward, T, T, T)
MISSING(cross_entropy_forward, T, T, T)
MISSING(cross_entropy_fused, T, T, T, float)
MISSING(loss_eval, T, T, T, T, T)
MISSING(adamw, T, T, T, T, T, AdamWStep)
MISSING(round_weights, T, T)
__attribute__((weak)) double sum_of_squares(Stream&, T) { fail(ExitCode::internal, "sum_of_squares: not written yet"); }
MISSING(dct_encode, T, T, ChunkGrid)
MISSING(dct_decode, T, T, ChunkGrid)
MISSING(demo_compress, SparseOut, T, T, ChunkGrid, DemoStep)
MISSING(merge_apply, T, T, ChunkGrid, std::span<const SparseIn>, float, float)
MISSING(apply_candidate, T, T, ChunkGrid, SparseIn, float)
MISSING(screen, std::span<double>, T, ChunkGrid, std::span<const SparseIn>)
MISSING(state_tree, T, T, T, std::span<const int64_t>)

}  // namespace templar::cuda
