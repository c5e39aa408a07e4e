// The outer step (docs/protocol.md §6), exact: for each tensor
//   r_p = 1/norm of peer p's integers n;   a = Σ_p llrint(n·r_p·2^40) / (K·2^40), K the position's senders
//   theta <- theta·keep - eta·sign(inverse DCT of a);   weights <- theta in bf16
//
// Three kernels, none of which the host waits for:
//   square_sums    Σ (c·(8 + m))² of each peer and exponent x, in integers: exact in any order
//   inverse_norms  from them r_p in double, in the order of the CPU
//   merge          per chunk the sums over peers, the means, the transforms, the update
//
// Sums over peers are integers in shared memory, all peers at once. A sum has 50 bits and the hardware adds 32 in one
// instruction (64 is a loop around compare-and-swap), so it is kept as two words: the low one wraps and each wrap is
// carried into the high one, which counts the senders too. Integer sums have no order; the result is exact.
//
// Moves 8 (10 with weights) bytes a parameter and 80 bytes of payload a chunk and peer: for 1.2B parameters and 15
// peers 12.4 GB, 2.9 ms at 4.3 TB/s. The bound is arithmetic: with some 480 coefficients in 64 rows a chunk costs about
// 5000 cycles of a multiprocessor, half of it the second transform: 6 to 8 ms on an H200.
#include "kernels/cuda/inverse_dct.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.h"

#include <algorithm>

namespace templar::cuda {

namespace {

constexpr int max_peers = 256;  // what the exact sums have room for
using Peers = PeerList<max_peers>;
constexpr int exponents = 32;
constexpr int warps = patch_threads / 32;

// ---- norms ----
constexpr int max_slices = 128;  // blocks that share one peer's chunks

struct SquareStorage {
    int64_t totals[warps][exponents];
};

// sums (peers, slices, 32) = Σ (c·(8 + m))² of each exponent over the slice's chunks. A warp takes a chunk at a time,
// and its lane x keeps the sum of exponent x.
__global__ void __launch_bounds__(patch_threads)
    square_sums_kernel(int64_t* sums, const __grid_constant__ Peers peers, int64_t chunks) {
    auto& storage = shared_storage<SquareStorage>();
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int p = static_cast<int>(blockIdx.y), k = peers.format.k;
    int64_t total = 0;
    for (int64_t chunk = static_cast<int64_t>(blockIdx.x) * warps + warp; chunk < chunks;
         chunk += int64_t{gridDim.x} * warps) {
        const int scale = peers.scales[p][chunk], mantissa = 8 + (scale & 7);
        unsigned squares = 0;  // at most 4096·255² < 2^32
        for (int n = lane; n < k; n += 32) {
            const int c = load_code(peers.codes[p], chunk * k + n, peers.format.code_bits);
            squares += static_cast<unsigned>(c * c);
        }
        squares = warp_sum(squares);
        if (scale != 0 && lane == scale >> 3) total += int64_t{squares} * (mantissa * mantissa);
    }
    storage.totals[warp][lane] = total;
    __syncthreads();
    if (threadIdx.x >= exponents) return;
    total = 0;
    for (int w = 0; w < warps; ++w) total += storage.totals[w][lane];
    sums[(int64_t{p} * gridDim.x + blockIdx.x) * exponents + lane] = total;
}

// norms (peers) = 2^40/sqrt(N²), N² = Σ_x sums[x]·4^x from high x to low; 0 where N² is 0. One warp a peer, lane x for
// exponent x. Factors of 2 are exact, so that it does not matter when 2^40 comes in.
__global__ void inverse_norms_kernel(double* norms, const int64_t* sums, int slices) {
    const int lane = static_cast<int>(threadIdx.x);
    const int64_t* const mine = sums + int64_t{blockIdx.x} * slices * exponents + lane;
    int64_t total = 0;
    for (int slice = 0; slice < slices; ++slice) total += mine[slice * exponents];
    const double term = static_cast<double>(total) * power_of_two(2 * lane);
    double square = 0;
    for (int x = exponents - 1; x >= 0; --x) square = __dadd_rn(square, __shfl_sync(all_lanes, term, x));
    if (lane == 0) norms[blockIdx.x] = square == 0 ? 0 : __ddiv_rn(1, __dsqrt_rn(square)) * 0x1p40;
}

// ---- merge ----

// High words count senders in units of 2^20; below that, |sum of high words and carries| <= 256·2^8 + 256 < 2^19.
constexpr unsigned one_sender = 1u << 20;

struct MergeStorage {
    uint16_t sent[max_chunk_size];  // positions that anyone sent, in no order
    int sent_count;
    ChunkStorage chunk;
};
static_assert(blocks_per_multiprocessor * (sizeof(MergeStorage) + 1024) <= 228 * 1024,
              "what a Hopper multiprocessor has");

// Adds f to the position's sum; true for its first sender. |f| <= 2^40, because |n·r| <= 1.
__device__ __forceinline__ bool add_value(ChunkStorage& storage, int index, long long f) {
    const auto low = static_cast<unsigned>(f), high = static_cast<unsigned>(f >> 32);
    const unsigned before = atomicAdd(&storage.low[index], low);
    const unsigned carry = before + low < low;
    return atomicAdd(&storage.high[index], one_sender + high + carry) == 0;
}

__device__ __forceinline__ float mean(unsigned low, unsigned high) {
    const int senders = static_cast<int>((high + one_sender / 2) / one_sender);
    const int upper = static_cast<int>(high - static_cast<unsigned>(senders) * one_sender);
    const long long sum = static_cast<long long>(upper) * (1ll << 32) + low;
    return static_cast<float>(__ddiv_rn(static_cast<double>(sum), senders * 0x1p40));
}

// Each warp takes a peer at a time. The sums are clear before, and complete after a barrier.
__device__ __forceinline__ void add_peers(MergeStorage& storage, const Peers& peers, const double* norms,
                                          int64_t chunk) {
    const int lane = static_cast<int>(threadIdx.x % 32), k = peers.format.k;
    for (int p = static_cast<int>(threadIdx.x / 32); p < peers.count; p += warps) {
        const int scale = peers.scales[p][chunk];
        const double factor = norms[p] * power_of_two(scale >> 3);
        for (int n = lane; n - lane < k; n += 32) {
            bool first = false;
            CodedValue value{};
            if (n < k) value = load_value(peers, p, chunk * k + n, scale);
            if (n < k && scale != 0)
                first = add_value(storage.chunk, value.index, llrint(__dmul_rn(value.unit, factor)));
            // One addition to the counter for the warp's new positions.
            const unsigned firsts = __ballot_sync(all_lanes, first);
            int start = 0;
            if (lane == 0 && firsts != 0) start = atomicAdd(&storage.sent_count, __popc(firsts));
            start = __shfl_sync(all_lanes, start, 0);
            if (first) storage.sent[start + __popc(firsts & ((1u << lane) - 1))] = static_cast<uint16_t>(value.index);
        }
    }
}

// theta and weights (null: absent) are not the same memory.
template <int n>
__global__ void __launch_bounds__(patch_threads, blocks_per_multiprocessor)
    merge_kernel(float* theta, __nv_bfloat16* weights, const double* norms, const __grid_constant__ Chunks chunks,
                 const __grid_constant__ Peers peers, float keep, float eta) {
    auto& storage = shared_storage<MergeStorage>();
    const ChunkGrid& grid = chunks.grid;
    ChunkStorage& sums = storage.chunk;
    const float* const row_basis = prepare_bases(sums, chunks);
    const Patch patch = thread_patch(grid);
    for (int64_t chunk = blockIdx.x; chunk < chunks.count; chunk += gridDim.x) {
        for (int i = static_cast<int>(threadIdx.x); i < chunks.size; i += patch_threads) sums.low[i] = sums.high[i] = 0;
        clear_present(sums);
        if (threadIdx.x == 0) storage.sent_count = 0;
        __syncthreads();
        add_peers(storage, peers, norms, chunk);
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < storage.sent_count; i += patch_threads) {
            const int index = storage.sent[i];
            put_coefficient(sums, index, mean(sums.low[index], sums.high[index]), grid.edge_cols);
        }
        __syncthreads();
        const int64_t origin = patch_origin(grid, chunk, patch);
        PatchValues w, x;
        load_patch<n>(w, theta + origin, grid.cols, patch);
        const int active = transform_rows(sums, grid.edge_rows, grid.edge_cols);
        __syncthreads();
        transform_patch(x, sums, row_basis, active, patch);
        for (int r = 0; r < 4; ++r)
            for (int q = 0; q < 4; ++q) x[r][q] = __fsub_rn(__fmul_rn(w[r][q], keep), __fmul_rn(eta, sign(x[r][q])));
        store_patch<n>(theta + origin, grid.cols, x, patch);
        if (weights != nullptr) store_patch<n>(weights + origin, grid.cols, x, patch);
        __syncthreads();  // t is read until here, and is where the next sums begin
    }
}

}  // namespace

void merge_apply(Stream& stream, Tensor theta, Tensor weights, ChunkGrid grid, std::span<const SparseIn> peers,
                 float keep, float eta) {
    constexpr const char* name = "merge_apply";
    const Chunks chunks = chunks_of(name, grid);
    require_type(name, DType::f32, {theta});
    require_type(name, DType::bf16, {weights});
    require(name, theta.numel() == grid.rows * grid.cols && (!weights || weights.numel() == theta.numel()),
            "theta and weights of the grid's size");
    if (chunks.count == 0) return;
    const Peers list = peer_list<max_peers>(name, grid, peers);

    const auto slices = static_cast<int>(std::min<int64_t>(ceil_div(chunks.count, warps), max_slices));
    const int64_t sums_bytes = int64_t{list.count} * slices * exponents * int64_t{sizeof(int64_t)};
    const auto memory = static_cast<std::byte*>(scratch(stream, sums_bytes + list.count * int64_t{sizeof(double)}));
    const auto sums = reinterpret_cast<int64_t*>(memory);
    const auto norms = reinterpret_cast<double*>(memory + sums_bytes);
    if (list.count > 0) {
        launch(stream, name, grid_of(slices, list.count), patch_threads, sizeof(SquareStorage), square_sums_kernel,
               sums, list, chunks.count);
        launch(stream, name, list.count, 32, 0, inverse_norms_kernel, norms, sums, slices);
    }
    const auto out = data<__nv_bfloat16>(weights);
    const auto kernel = packs_of(grid, theta.f32(), out) ? merge_kernel<4> : merge_kernel<1>;
    launch(stream, name, persistent_blocks(stream, chunks), patch_threads, sizeof(MergeStorage), kernel, theta.f32(),
           out, norms, chunks, list, keep, eta);
}

}  // namespace templar::cuda
