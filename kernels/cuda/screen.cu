// sums[p] += <grad, sign(inverse DCT of peer p's values)>: which of many payloads point against the gradient.
//
// A block loads its part of a chunk of grad into registers once and goes through the peers. Products g·sign(x) are
// exact; they are added in double in an order that the grid alone fixes: a thread's 16 elements, the lanes of a warp,
// the block's chunks in turn, its warps, the blocks. So a GPU of any size gives the same bits.
//
// Bound: fma issue. For k = 32 of 4096 about 1300 cycles a chunk and peer on a multiprocessor: 1.2B parameters and 64
// peers some 110 ms on an H200, while reading grad (4.8 GB) takes 1.1 ms. Larger sets of peers are taken 64 at a time.
//
// The host waits once a call, for 8 bytes a peer: some 10 µs beside the kernels, 1.5 ms for 147 tensors.
#include "kernels/cuda/inverse_dct.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.h"

#include <algorithm>

namespace templar::cuda {

namespace {

constexpr const char* name = "screen";
constexpr int peers_at_once = 64;
constexpr int max_blocks = 1024;  // a constant: the order of the sums depends on it
constexpr int warps = patch_threads / 32;
using Peers = PeerList<peers_at_once>;

struct Storage {
    double sums[peers_at_once][warps];
    ChunkStorage chunk;
};

// block_sums (blocks, peers)
template <int n>
__global__ void __launch_bounds__(patch_threads, blocks_per_multiprocessor)
    screen_kernel(double* block_sums, const float* grad, const __grid_constant__ Chunks chunks,
                  const __grid_constant__ Peers peers) {
    auto& storage = shared_storage<Storage>();
    const ChunkGrid& grid = chunks.grid;
    const float* const row_basis = prepare_bases(storage.chunk, chunks);
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    if (lane == 0)
        for (int p = 0; p < peers.count; ++p) storage.sums[p][warp] = 0;
    const Patch patch = thread_patch(grid);
    for (int64_t chunk = blockIdx.x; chunk < chunks.count; chunk += gridDim.x) {
        PatchValues g, x;
        load_patch<n>(g, grad + patch_origin(grid, chunk, patch), grid.cols, patch);
        for (int p = 0; p < peers.count; ++p) {
            clear_present(storage.chunk);
            __syncthreads();
            put_peer(storage.chunk, peers, p, chunk, grid.edge_cols);
            __syncthreads();
            const int active = transform_rows(storage.chunk, grid.edge_rows, grid.edge_cols);
            __syncthreads();
            transform_patch(x, storage.chunk, row_basis, active, patch);
            double sum = 0;
            for (int r = 0; r < 4; ++r)
                for (int q = 0; q < 4; ++q) sum += static_cast<double>(g[r][q] * sign(x[r][q]));
            sum = warp_sum(sum);
            if (lane == 0) storage.sums[p][warp] += sum;
        }
    }
    __syncthreads();
    for (int p = static_cast<int>(threadIdx.x); p < peers.count; p += patch_threads) {
        double sum = 0;
        for (int w = 0; w < warps; ++w) sum += storage.sums[p][w];
        block_sums[int64_t{blockIdx.x} * peers.count + p] = sum;
    }
}

// sums (peers): one warp for each.
__global__ void add_blocks_kernel(double* sums, const double* block_sums, int blocks) {
    double sum = 0;
    for (int block = static_cast<int>(threadIdx.x); block < blocks; block += 32)
        sum += block_sums[int64_t{block} * gridDim.x + blockIdx.x];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// At most peers_at_once of them; `sums` is overwritten, on the device.
void enqueue(Stream& stream, double* sums, double* block_sums, int blocks, const float* grad, const Chunks& chunks,
             std::span<const SparseIn> peers) {
    const auto list = peer_list<peers_at_once>(name, chunks.grid, peers);
    const auto kernel = packs_of(chunks.grid, grad, grad) ? screen_kernel<4> : screen_kernel<1>;
    launch(stream, name, blocks, patch_threads, sizeof(Storage), kernel, block_sums, grad, chunks, list);
    launch(stream, name, list.count, 32, 0, add_blocks_kernel, sums, block_sums, blocks);
}

}  // namespace

void screen(Stream& stream, std::span<double> sums, Tensor grad, ChunkGrid grid, std::span<const SparseIn> peers) {
    const Chunks chunks = chunks_of(name, grid);
    require_type(name, DType::f32, {grad});
    require(name, grad.numel() == grid.rows * grid.cols, "a gradient of the grid's size");
    require(name, sums.size() == peers.size(), "one sum for each peer");
    if (chunks.count == 0) return;
    const auto blocks = static_cast<int>(std::min<int64_t>(chunks.count, max_blocks));
    const int64_t cells = peers_at_once * (int64_t{blocks} + 1);
    const auto device_sums = static_cast<double*>(scratch(stream, cells * int64_t{sizeof(double)}));
    for (size_t done = 0; done < peers.size(); done += peers_at_once) {
        const auto batch = peers.subspan(done, std::min<size_t>(peers_at_once, peers.size() - done));
        enqueue(stream, device_sums, device_sums + peers_at_once, blocks, grad.f32(), chunks, batch);
        double added[peers_at_once];
        check(cudaMemcpyAsync(added, device_sums, batch.size() * sizeof(double), cudaMemcpyDeviceToHost,
                              stream.cuda->handle),
              name);
        check(cudaStreamSynchronize(stream.cuda->handle), name);
        for (size_t p = 0; p < batch.size(); ++p) sums[done + p] += added[p];
    }
}

}  // namespace templar::cuda
