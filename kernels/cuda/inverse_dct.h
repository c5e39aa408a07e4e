// The exact inverse DCT of one chunk by one block, for merge_apply, apply_candidate and screen (docs/protocol.md §6).
// C coefficients, B = dct_basis(edge), X the chunk's values:
//   T[u][j] = fma chain over v ascending of C[u][v]·B[j][v]        transform_rows()
//   X[i][j] = fma chain over u ascending of B[i][u]·T[u][j]        transform_patch()
//
// Few coefficients are there: one payload has 32 of 4096, fifteen together at most 480. So the first transform visits
// only those, through a bit mask per row, and the second only the rows of T that have one ("active" rows). The bits are
// those of the full sums, for the reason given in kernels/cpu/isa/exact_ops.cpp: adding a product with zero changes a
// sum in nothing but, at most, the sign of a zero, and sign(X) does not ask for that.
//
// Cost of a dense second transform: 262,144 fma a chunk, 2048 cycles of a multiprocessor. Each thread makes 4 × 4
// values of X in registers: per active row two 16-byte reads of shared memory for 16 fma. Bt, the basis with the
// frequency first, gives both transforms conflict-free rows.
#pragma once

#include "kernels/cuda/basis.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/sparse.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/vector.h"

namespace templar::cuda {

inline constexpr int patch_threads = 256;  // of every block that transforms chunks: 16 × 16 patches of 4 × 4 cover any
// Leaves a thread 80 registers: 16 values of X, 16 of theta, and the loads of the next rows in flight.
inline constexpr int blocks_per_multiprocessor = 3;
inline constexpr unsigned all_lanes = 0xffffffffu;

// What a kernel is told about a tensor's chunks.
struct Chunks {
    ChunkGrid grid;
    int64_t count;
    int32_t size;
    BasisValues col_basis, row_basis;
};

struct alignas(16) ChunkStorage {
    // Only those that `present` names have a value. merge_apply collects its sums in the same place.
    union {
        float coefficients[max_chunk_size];  // by index u·edge_cols + v
        unsigned low[max_chunk_size];
    };
    union {
        float t[max_chunk_edge * max_chunk_edge];  // (active rows, j)
        unsigned high[max_chunk_size];
    };
    unsigned present[max_chunk_edge][2];  // row u: bit v
    int active[max_chunk_edge];           // u of the rows of t
    // Bt (frequency, position), 0 past the last position: of edge_cols, and of edge_rows where that is another.
    float basis[2][max_chunk_edge * max_chunk_edge];
};

// ---- bases ----
__device__ __forceinline__ void expand_basis(float* basis, const BasisValues& values, int n, float* staged) {
    const int turn = 4 * n, j = static_cast<int>(threadIdx.x) % max_chunk_edge;
    for (int m = static_cast<int>(threadIdx.x); m < turn; m += patch_threads) staged[m] = values.others[m];
    __syncthreads();
    constexpr int stride = patch_threads / max_chunk_edge;
    const int first = static_cast<int>(threadIdx.x) / max_chunk_edge, step = stride * (2 * j + 1) % turn;
    for (int b = first, m = (2 * j + 1) * first % turn; b < n; b += stride) {
        basis[b * max_chunk_edge + j] = j >= n ? 0.0f : b == 0 ? values.first : staged[m];
        m += step;
        if (m >= turn) m -= turn;
    }
    __syncthreads();
}

// Fills the storage's bases; returns that of the rows. All threads call.
__device__ __forceinline__ const float* prepare_bases(ChunkStorage& storage, const Chunks& chunks) {
    expand_basis(storage.basis[0], chunks.col_basis, chunks.grid.edge_cols, storage.t);
    if (chunks.grid.edge_rows == chunks.grid.edge_cols) return storage.basis[0];
    expand_basis(storage.basis[1], chunks.row_basis, chunks.grid.edge_rows, storage.t);
    return storage.basis[1];
}

// ---- coefficients ----
__device__ __forceinline__ void clear_present(ChunkStorage& storage) {
    if (threadIdx.x < 2 * max_chunk_edge) storage.present[threadIdx.x / 2][threadIdx.x % 2] = 0;
}

__device__ __forceinline__ void put_coefficient(ChunkStorage& storage, int index, float value, int edge_cols) {
    const int u = index / edge_cols, v = index - u * edge_cols;
    storage.coefficients[index] = value;
    atomicOr(&storage.present[u][v / 32], 1u << v % 32);
}

// One peer's values as coefficients, without the tensor's base exponent: a positive factor moves no sign. Exact: an
// integer of at most 12 significant bits times 2^x. All threads call; `present` is clear before and complete after a
// barrier.
template <int capacity>
__device__ __forceinline__ void put_peer(ChunkStorage& storage, const PeerList<capacity>& peers, int p, int64_t chunk,
                                         int edge_cols) {
    const int scale = peers.scales[p][chunk], k = peers.format.k;
    for (int n = static_cast<int>(threadIdx.x); n < k; n += patch_threads) {
        const CodedValue value = load_value(peers, p, chunk * k + n, scale);
        if (scale == 0) continue;
        const double exact = value.unit * power_of_two(scale >> 3);
        put_coefficient(storage, value.index, static_cast<float>(exact), edge_cols);
    }
}

// ---- transforms ----
// C -> T; returns the number of active rows. All threads call, 16 of them for a row, four columns each.
__device__ __forceinline__ int transform_rows(ChunkStorage& storage, int edge_rows, int edge_cols) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const auto row_is_active = [&](int u) { return (storage.present[u][0] | storage.present[u][1]) != 0; };
    const unsigned long long upper = __ballot_sync(all_lanes, row_is_active(lane + 32));
    const unsigned long long active = upper << 32 | __ballot_sync(all_lanes, row_is_active(lane));

    const int j = static_cast<int>(threadIdx.x % 16) * 4;
    for (int u = static_cast<int>(threadIdx.x / 16); u < edge_rows; u += patch_threads / 16) {
        if ((active >> u & 1) == 0) continue;
        Floats<4> sum = {};
        for (int word = 0; word < 2; ++word)
            for (unsigned bits = storage.present[u][word]; bits != 0; bits &= bits - 1) {
                const int v = word * 32 + __ffs(static_cast<int>(bits)) - 1;
                const float c = storage.coefficients[u * edge_cols + v];
                const Floats<4> b = load<4>(storage.basis[0] + v * max_chunk_edge + j);
                for (int q = 0; q < 4; ++q) sum[q] = __fmaf_rn(c, b[q], sum[q]);
            }
        const int row = __popcll(active & ((1ull << u) - 1));
        store<4>(storage.t + row * max_chunk_edge + j, sum);
        if (j == 0) storage.active[row] = u;
    }
    return __popcll(active);
}

// A thread's part of a chunk: rows i … i + 3, columns j … j + 3, of which `rows` and `cols` exist (0 or less: none).
struct Patch {
    int i, j, rows, cols;
};
__device__ __forceinline__ Patch thread_patch(const ChunkGrid& grid) {
    const int i = static_cast<int>(threadIdx.x) / 16 * 4, j = static_cast<int>(threadIdx.x) % 16 * 4;
    return {i, j, grid.edge_rows - i, grid.edge_cols - j};
}

using PatchValues = Floats<4>[4];

// T -> the patch of X; `active` rows, after a barrier.
__device__ __forceinline__ void transform_patch(PatchValues& x, const ChunkStorage& storage, const float* row_basis,
                                                int active, const Patch& patch) {
    for (int r = 0; r < 4; ++r) x[r] = {};
#pragma unroll 4
    for (int a = 0; a < active; ++a) {
        const Floats<4> b = load<4>(row_basis + storage.active[a] * max_chunk_edge + patch.i);
        const Floats<4> t = load<4>(storage.t + a * max_chunk_edge + patch.j);
        for (int r = 0; r < 4; ++r)
            for (int q = 0; q < 4; ++q) x[r][q] = __fmaf_rn(b[r], t[q], x[r][q]);
    }
}

__device__ __forceinline__ float sign(float x) { return static_cast<float>(x > 0) - static_cast<float>(x < 0); }

// ---- patches in memory ----
// First element of a thread's patch in its tensor.
__device__ __forceinline__ int64_t patch_origin(const ChunkGrid& grid, int64_t chunk, const Patch& patch) {
    const int64_t per_row = grid.cols / grid.edge_cols;
    const int64_t chunk_row = chunk / per_row, chunk_col = chunk - chunk_row * per_row;
    return (chunk_row * grid.edge_rows + patch.i) * grid.cols + chunk_col * grid.edge_cols + patch.j;
}

// n = 4: rows of whole 16-byte packs (packs_of); n = 1: any. Elements that do not exist become 0 and are not stored.
template <int n>
__device__ __forceinline__ void load_patch(PatchValues& values, const float* first, int64_t row_stride,
                                           const Patch& patch) {
    for (int r = 0; r < 4; ++r) {
        values[r] = {};
        for (int q = 0; q < 4; q += n)
            if (r < patch.rows && q < patch.cols) {
                const Floats<n> loaded = load<n>(first + r * row_stride + q, Use::streaming);
                for (int e = 0; e < n; ++e) values[r][q + e] = loaded[e];
            }
    }
}
template <int n, class T>
__device__ __forceinline__ void store_patch(T* first, int64_t row_stride, const PatchValues& values,
                                            const Patch& patch) {
    for (int r = 0; r < 4; ++r)
        for (int q = 0; q < 4; q += n)
            if (r < patch.rows && q < patch.cols) {
                Floats<n> stored;
                for (int e = 0; e < n; ++e) stored[e] = values[r][q + e];
                store<n>(first + r * row_stride + q, stored);
            }
}

// ---- for launchers ----
// Throws Error(internal) when the chunks do not tile the tensor.
inline Chunks chunks_of(const char* op, const ChunkGrid& grid) {
    const auto fits = [](int64_t extent, int edge) {
        return edge >= 1 && edge <= max_chunk_edge && extent % edge == 0;
    };
    if (!fits(grid.rows, grid.edge_rows) || !fits(grid.cols, grid.edge_cols))
        fail(ExitCode::internal, "{}: chunks of {} x {} do not tile a tensor of {} x {}", op, grid.edge_rows,
             grid.edge_cols, grid.rows, grid.cols);
    return {grid, grid.chunks(), grid.chunk_size(), basis_values(grid.edge_cols), basis_values(grid.edge_rows)};
}

// As many blocks as run at once, for a kernel that takes chunks in turn.
inline dim3 persistent_blocks(const Stream& stream, const Chunks& chunks) {
    return grid_of(std::min<int64_t>(chunks.count, blocks_per_multiprocessor * stream.cuda->multiprocessors));
}

// True when load_patch<4>() and store_patch<4>() may be used: rows of whole packs from aligned addresses on.
template <class Out>
bool packs_of(const ChunkGrid& grid, const float* in, const Out* out) {
    return whole_packs<float>(grid.edge_cols, in) && reinterpret_cast<uintptr_t>(out) % (4 * sizeof(Out)) == 0;
}

}  // namespace templar::cuda
