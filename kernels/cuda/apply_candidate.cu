// out (rows, cols) = theta - step·sign(inverse DCT of one peer's values), theta untouched: what a validator evaluates.
// Same bits as the CPU: the transforms of inverse_dct.h, then one rounded product and one rounded subtraction.
//
// Moves 4 bytes in and 2 (bf16) or 4 out a parameter, and about 0.08 bytes of payload. Bound on an H200 for 1.2B
// parameters: 7.2 GB, 1.7 ms at 4.3 TB/s; the arithmetic of k = 32 (some 25 active rows: 100k fma a chunk) takes 1.0 ms
// of fma issue beside it. Three blocks share a multiprocessor, so that one's loads run under another's transforms.
#include "kernels/cuda/inverse_dct.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

namespace templar::cuda {

namespace {

// `out` may be theta.
template <int n, class Out>
__global__ void __launch_bounds__(patch_threads, blocks_per_multiprocessor)
    apply_candidate_kernel(Out* out, const float* theta, const __grid_constant__ Chunks chunks,
                           const __grid_constant__ PeerList<1> peer, float step) {
    auto& storage = shared_storage<ChunkStorage>();
    const ChunkGrid& grid = chunks.grid;
    const float* const row_basis = prepare_bases(storage, chunks);
    const Patch patch = thread_patch(grid);
    for (int64_t chunk = blockIdx.x; chunk < chunks.count; chunk += gridDim.x) {
        const int64_t origin = patch_origin(grid, chunk, patch);
        clear_present(storage);
        __syncthreads();
        put_peer(storage, peer, 0, chunk, grid.edge_cols);
        __syncthreads();
        PatchValues w, x;
        load_patch<n>(w, theta + origin, grid.cols, patch);
        const int active = transform_rows(storage, grid.edge_rows, grid.edge_cols);
        __syncthreads();
        transform_patch(x, storage, row_basis, active, patch);
        for (int r = 0; r < 4; ++r)
            for (int q = 0; q < 4; ++q) x[r][q] = __fsub_rn(w[r][q], __fmul_rn(step, sign(x[r][q])));
        store_patch<n>(out + origin, grid.cols, x, patch);
    }
}

}  // namespace

void apply_candidate(Stream& stream, Tensor out, Tensor theta, ChunkGrid grid, SparseIn peer, float step) {
    constexpr const char* name = "apply_candidate";
    const Chunks chunks = chunks_of(name, grid);
    require_type(name, DType::f32, {theta});
    require(name, theta.numel() == grid.rows * grid.cols && out.numel() == theta.numel(),
            "out and theta of the grid's size");
    if (chunks.count == 0) return;
    const auto list = peer_list<1>(name, grid, {&peer, 1});
    with_compute_type(name, out.dtype, [&]<class Out>() {
        const auto kernel = packs_of(grid, theta.f32(), data<Out>(out)) ? apply_candidate_kernel<4, Out>
                                                                        : apply_candidate_kernel<1, Out>;
        launch(stream, name, persistent_blocks(stream, chunks), patch_threads, sizeof(ChunkStorage), kernel,
               data<Out>(out), theta.f32(), chunks, list, step);
    });
}

}  // namespace templar::cuda
