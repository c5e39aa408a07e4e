// out (rows, cols) = theta - step·sign(inverse DCT of one peer's values), theta untouched: what a validator evaluates.
// Same bits as the CPU: the transforms of inverse_dct.h, then one rounded product and one rounded subtraction.
//
// Moves 4 bytes in and 2 (bf16) or 4 out a parameter, and about 0.08 bytes of payload. Bound on an H200 for 1.2B parameters:
// 7.2 GB, 1.7 ms at 4.3 TB/s; the arithmetic of k = 32 (some 25 active rows: 100k fma a chunk) takes 1.0 ms of fma issue
// beside it. Three blocks share a multiprocessor, so that one's loads run under another's transforms.
#include "kernels/cuda/inverse_dct.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

#include <algorithm>

namespace templar::cuda {

namespace {


// `out` may be theta.
template <int n, class Out>
__global__ void __launch_bounds__(chunk_threads, blocks_per_multiprocessor)
    apply_candidate_kernel(Out* out, const float* theta, const __grid_constant__ Chunks chunks,
                           const __grid_constant__ PeerList<1> peer, float step) {
    auto& storage = shared_storage<ChunkStorage>();
    const ChunkGrid& grid = chunks.grid;
    const float* const row_basis = prepare_bases(storage, chunks);
    const Tile tile = thread_tile(grid);
    for (int64_t chunk = blockIdx.x; chunk < chunks.count; chunk += gridDim.x) {
        const int64_t origin = tile_origin(grid, chunk, tile);
        clear_present(storage);
        __syncthreads();
        put_peer(storage, peer, 0, chunk, grid.edge_cols);
        __syncthreads();
        TileValues w, x;
        load_tile<n>(w, theta + origin, grid.cols, tile);
        const int active = transform_rows(storage, grid.edge_rows, grid.edge_cols);
        __syncthreads();
        transform_tile(x, storage, row_basis, active, tile);
        for (int r = 0; r < 4; ++r)
            for (int q = 0; q < 4; ++q) x[r][q] = __fsub_rn(w[r][q], __fmul_rn(step, sign(x[r][q])));
        store_tile<n>(out + origin, grid.cols, x, tile);
    }
}

template <class Out>
void run(Stream& stream, Out* out, const float* theta, const Chunks& chunks, const PeerList<1>& peer, float step) {
    const auto kernel = packs_of(chunks.grid, theta, out) ? apply_candidate_kernel<4, Out> : apply_candidate_kernel<1, Out>;
    const int64_t blocks = std::min<int64_t>(chunks.count, blocks_per_multiprocessor * stream.cuda->multiprocessors);
    launch(stream, "apply_candidate", dim3(static_cast<unsigned>(blocks)), dim3(chunk_threads),
           sizeof(ChunkStorage), kernel, out, theta, chunks, peer, step);
}

}  // namespace

void apply_candidate(Stream& stream, Tensor out, Tensor theta, ChunkGrid grid, SparseIn peer, float step) {
    const Chunks chunks = chunks_of("apply_candidate", grid);
    const int64_t values = grid.rows * grid.cols;
    if (theta.dtype != DType::f32 || theta.numel() != values || out.numel() != values)
        fail(ExitCode::internal, "apply_candidate: expected fp32 theta and out of {} values, found {} ({}) and {}", values,
             theta.numel(), name_of(theta.dtype), out.numel());
    if (values == 0) return;
    const auto list = peer_list<1>("apply_candidate", grid, {&peer, 1});
    switch (out.dtype) {
        case DType::f32: return run(stream, out.f32(), theta.f32(), chunks, list, step);
        case DType::bf16: return run(stream, static_cast<__nv_bfloat16*>(out.data), theta.f32(), chunks, list, step);
        default: fail(ExitCode::internal, "apply_candidate: out is {}, expected f32 or bf16", name_of(out.dtype));
    }
}

}  // namespace templar::cuda
