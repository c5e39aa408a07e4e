// The two-dimensional DCT-II of one chunk in shared memory, by a block of 64 threads (docs/protocol.md §5).
//
// Two transforms with one interface: FastDct for 64 × 64 chunks, which all large tensors have, and AnyDct for every
// other size. Both leave the coefficients, divided by `scale`, in a ChunkValues.
#pragma once

#include "base/error.h"
#include "kernels/cuda/basis.h"
#include "kernels/cuda/sparse.h"
#include "kernels/cuda/vector.h"

#include <cstdint>
#include <limits>

namespace templar::cuda {

inline constexpr int dct_threads = 64;

// The values of a chunk, value i at slot(i): 4 floats of padding after each 64. In a 64 × 64 chunk a warp then touches
// all banks equally whether its threads share a row, a column, or read 16 bytes of a row each.
inline constexpr int chunk_row = max_chunk_edge + 4;
struct alignas(16) ChunkValues {
    float values[max_chunk_edge * chunk_row];
};
__device__ __forceinline__ int slot(int i) {
    return i + (i / max_chunk_edge) * (chunk_row - max_chunk_edge);
}

// ---- chunks of a tensor ---------------------------------------------------------------------------------------------

// A ChunkGrid as kernels want it: 32-bit divisions are several times cheaper than 64-bit ones.
struct ChunkMap {
    uint32_t chunks, across;  // in all, in a row of chunks
    int edge_rows, edge_cols, size;
    int64_t cols;

    // Where a chunk's corner lies in the tensor.
    __device__ __forceinline__ int64_t corner(uint32_t chunk) const {
        return static_cast<int64_t>(chunk / across) * edge_rows * cols + chunk % across * edge_cols;
    }
};

// ---- the fast transform ---------------------------------------------------------------------------------------------
// Without normalisation,
//   DCT-II(N): x[b] <- Σ_j x[j]·cos(π(2j + 1)b/(2N))
//   DCT-IV(N): x[b] <- Σ_j x[j]·cos(π(2j + 1)(2b + 1)/(4N))
// Both are split into transforms of half the size by butterflies and plane rotations only, so that no rounding error
// grows. (Lee's recursion, which has no rotations, divides by as little as 2·sin(π/128) = 0.05.) 591 additions,
// multiplications and fused multiply-adds for N = 64. Everything is unrolled: each x[j] is a register. A product that
// nvcc could fuse with an addition says what is meant, so that a GPU gives the bits that the tests see.

// cos and sin of the rotations of DCT-IV(N), angles π(2j + 1)/(4N) below π/4.
template <int N>
struct Rotations {
    float cosine[N / 2], sine[N / 2];
};
template <int N>
__host__ __device__ constexpr Rotations<N> rotations() {
    Rotations<N> r{};
    for (int j = 0; j < N / 2; ++j) {
        const double angle = 3.14159265358979323846 * (2 * j + 1) / (4 * N);
        double term = 1, cosine = 0, sine = 0;  // Taylor series; the terms' signs go + + - -
        for (int n = 0; n < 24; ++n) {
            (n % 2 == 0 ? cosine : sine) += n % 4 < 2 ? term : -term;
            term *= angle / (n + 1);
        }
        r.cosine[j] = static_cast<float>(cosine);
        r.sine[j] = static_cast<float>(sine);
    }
    return r;
}
inline constexpr float sqrt_half = 0.70710678118654752440f;

template <int N>
__device__ __forceinline__ void dct_iv(float (&x)[N]);

template <int N>
__device__ __forceinline__ void dct_ii(float (&x)[N]) {
    if constexpr (N > 1) {
        float sums[N / 2], differences[N / 2];
#pragma unroll
        for (int j = 0; j < N / 2; ++j) {
            sums[j] = x[j] + x[N - 1 - j];
            differences[j] = x[j] - x[N - 1 - j];
        }
        dct_ii(sums);
        dct_iv(differences);
#pragma unroll
        for (int b = 0; b < N / 2; ++b) {
            x[2 * b] = sums[b];
            x[2 * b + 1] = differences[b];
        }
    }
}

// With angle a_j = π(2j + 1)/(4N) the mirrored pair (x[j], x[N-1-j]) has the angles a_j and π/2 - a_j; adding and
// subtracting outputs 2r and 2r - 1 leaves 2·cos(4r·a_j) and 2·sin(4r·a_j) of the rotated pair, and a sine transform is
// a cosine transform of the input with alternating signs, read backwards.
template <int N>
__device__ __forceinline__ void dct_iv(float (&x)[N]) {
    if constexpr (N == 1) {
        x[0] = __fmul_rn(x[0], sqrt_half);
    } else {
        constexpr Rotations<N> r = rotations<N>();
        float cosines[N / 2], sines[N / 2];
#pragma unroll
        for (int j = 0; j < N / 2; ++j) {
            const float a = x[j], b = x[N - 1 - j];
            const float turned = j % 2 == 0 ? -a : a, kept = j % 2 == 0 ? b : -b;
            cosines[j] = __fmaf_rn(a, r.cosine[j], __fmul_rn(b, r.sine[j]));
            sines[j] = __fmaf_rn(kept, r.cosine[j], __fmul_rn(turned, r.sine[j]));
        }
        dct_ii(cosines);
        dct_ii(sines);
        x[0] = cosines[0];
        x[N - 1] = -sines[0];
#pragma unroll
        for (int b = 1; b < N / 2; ++b) {
            x[2 * b] = cosines[b] + sines[N / 2 - b];
            x[2 * b - 1] = cosines[b] - sines[N / 2 - b];
        }
    }
}

// Chunks of 64 × 64. Thread t transforms column t, straight from global memory (64 loads in flight), then row t.
struct FastDct {
    static constexpr int size = max_chunk_size;
    static constexpr float scale = 1.0f / 32;  // sqrt(2/64) for each dimension, a power of two
    struct Shared {};

    __device__ __forceinline__ void prepare(Shared&) const {}

    // chunk <- the coefficients of x (64, 64) with the given row stride, divided by `scale`.
    __device__ __forceinline__ void encode(ChunkValues& chunk, Shared&, const float* x, int64_t stride) const {
        const int t = static_cast<int>(threadIdx.x);
        float line[max_chunk_edge];
#pragma unroll
        for (int j = 0; j < max_chunk_edge; ++j) line[j] = __ldcs(x + j * stride + t);
        dct_ii(line);
        line[0] = __fmul_rn(line[0], sqrt_half);
#pragma unroll
        for (int u = 0; u < max_chunk_edge; ++u) chunk.values[u * chunk_row + t] = line[u];
        __syncthreads();

        float* const row = chunk.values + t * chunk_row;
#pragma unroll
        for (int l = 0; l < max_chunk_edge; l += 4) {
            const Floats<4> four = load<4>(row + l);
            for (int e = 0; e < 4; ++e) line[l + e] = four[e];
        }
        dct_ii(line);
        line[0] = __fmul_rn(line[0], sqrt_half);
#pragma unroll
        for (int v = 0; v < max_chunk_edge; v += 4)
            store<4>(row + v, Floats<4>{{line[v], line[v + 1], line[v + 2], line[v + 3]}});
        __syncthreads();
    }
};

// ---- chunks of any size ---------------------------------------------------------------------------------------------

// Two products with the basis. Slow beside FastDct, and only small or oddly shaped tensors take it.
struct AnyDct {
    static constexpr int size = 0;  // not known when compiling
    static constexpr float scale = 1;
    BasisValues row_values, col_values;
    int h, w;  // edge_rows, edge_cols

    static constexpr int tile = 4;                         // sums of one thread
    static constexpr int turned_row = max_chunk_edge + 1;  // odd: a column lies in 64 different banks
    struct Shared {
        // Basis matrices, row stride 64: (position, frequency) to encode, (frequency, position) to decode; columns up
        // to the next multiple of `tile` are zero.
        alignas(16) float row_basis[max_chunk_edge * max_chunk_edge];
        alignas(16) float col_basis[max_chunk_edge * max_chunk_edge];
        float turned[max_chunk_edge * turned_row];  // between the products, transposed
    };

    __device__ void prepare(Shared& shared) const { fill_bases(shared, false); }
    __device__ void prepare_decode(Shared& shared) const { fill_bases(shared, true); }

    // chunk <- the coefficients of x (h, w) with the given row stride.
    __device__ void encode(ChunkValues& chunk, Shared& shared, const float* x, int64_t stride) const {
        for (int i = static_cast<int>(threadIdx.x); i < h * w; i += dct_threads)
            chunk.values[i / w * chunk_row + i % w] = x[i / w * stride + i % w];
        __syncthreads();
        multiply(shared.row_basis, h, chunk.values, chunk_row, w,
                 [&](int l, int u, float sum) { shared.turned[l * turned_row + u] = sum; });
        __syncthreads();
        multiply(shared.col_basis, w, shared.turned, turned_row, h,
                 [&](int u, int v, float sum) { chunk.values[slot(u * w + v)] = sum; });
        __syncthreads();
    }

    // x <- the inverse transform of coef (h, w), dense. After prepare_decode().
    __device__ void decode(float* x, int64_t stride, ChunkValues& chunk, Shared& shared, const float* coef) const {
        for (int i = static_cast<int>(threadIdx.x); i < h * w; i += dct_threads)
            chunk.values[i / w * chunk_row + i % w] = coef[i];
        __syncthreads();
        multiply(shared.row_basis, h, chunk.values, chunk_row, w,
                 [&](int v, int j, float sum) { shared.turned[v * turned_row + j] = sum; });
        __syncthreads();
        multiply(shared.col_basis, w, shared.turned, turned_row, h,
                 [&](int j, int l, float sum) { chunk.values[j * chunk_row + l] = sum; });
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < h * w; i += dct_threads)
            x[i / w * stride + i % w] = chunk.values[i / w * chunk_row + i % w];
        __syncthreads();
    }

  private:
    __device__ static void fill_basis(float* matrix, const BasisValues& basis, int n, bool transposed, float* staged) {
        const int t = static_cast<int>(threadIdx.x);
        for (int m = t; m < 4 * n; m += dct_threads) staged[m] = basis.others[m];
        __syncthreads();
        for (int i = t; i < n * max_chunk_edge; i += dct_threads) {
            const int row = i / max_chunk_edge, col = i % max_chunk_edge;
            const int j = transposed ? col : row, b = transposed ? row : col;
            matrix[i] = col >= n ? 0.0f : b == 0 ? basis.first : staged[(2 * j + 1) * b % (4 * n)];
        }
        __syncthreads();
    }
    __device__ void fill_bases(Shared& shared, bool transposed) const {
        fill_basis(shared.row_basis, row_values, h, transposed, shared.turned);
        fill_basis(shared.col_basis, col_values, w, transposed, shared.turned);
    }

    // put(i, b, Σ_k matrix[k][b]·in[k][i]) for b < n, i < count; k < n.
    template <class Put>
    __device__ static void multiply(const float* matrix, int n, const float* in, int in_stride, int count, Put put) {
        const int tiles = (n + tile - 1) / tile;
        for (int item = static_cast<int>(threadIdx.x); item < tiles * count; item += dct_threads) {
            const int i = item % count, first = item / count * tile;
            float sum[tile] = {};
            for (int k = 0; k < n; ++k) {
                const float x = in[k * in_stride + i];
                const Floats<tile> m = load<tile>(matrix + k * max_chunk_edge + first);
                for (int q = 0; q < tile; ++q) sum[q] = __fmaf_rn(m[q], x, sum[q]);
            }
            for (int q = 0; q < tile; ++q)
                if (first + q < n) put(i, first + q, sum[q]);
        }
    }
};

// ---- for launchers --------------------------------------------------------------------------------------------------
// Throws Error(internal) for 2^32 chunks and more, and when the chunks do not tile the tensor.
inline ChunkMap chunk_map(const char* op, const ChunkGrid& grid) {
    const auto fits = [](int64_t extent, int edge) {
        return edge >= 1 && edge <= max_chunk_edge && extent % edge == 0;
    };
    if (!fits(grid.rows, grid.edge_rows) || !fits(grid.cols, grid.edge_cols))
        fail(ExitCode::internal, "{}: chunks of {} x {} do not tile a tensor of {} x {}", op, grid.edge_rows,
             grid.edge_cols, grid.rows, grid.cols);
    if (grid.chunks() > std::numeric_limits<uint32_t>::max())
        fail(ExitCode::internal, "{}: expected fewer than 2^32 chunks, found {}", op, grid.chunks());
    return {static_cast<uint32_t>(grid.chunks()),
            static_cast<uint32_t>(grid.cols / grid.edge_cols),
            grid.edge_rows,
            grid.edge_cols,
            grid.chunk_size(),
            grid.cols};
}

inline bool takes_fast_dct(const ChunkGrid& grid) {
    return grid.edge_rows == max_chunk_edge && grid.edge_cols == max_chunk_edge;
}
inline AnyDct any_dct(const ChunkGrid& grid) {
    return {basis_values(grid.edge_rows), basis_values(grid.edge_cols), grid.edge_rows, grid.edge_cols};
}

}  // namespace templar::cuda
