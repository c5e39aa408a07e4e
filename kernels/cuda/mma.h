// The tensor cores' product of 16 × 16 by 16 × 8 (mma.sync m16n8k16, sm_80 on) and the load of its operands from shared
// memory (ldmatrix). A warp holds each matrix in pieces ("fragments", PTX ISA §9.7.14.5): with g = lane / 4 and t =
// lane % 4 a lane has
//
//   A (16, 16)   x: row g, columns 2t, 2t+1 | row g+8, same columns | row g, columns 2t+8, 2t+9 | row g+8, those
//   B (16, 8)    x: rows 2t, 2t+1 of column g | rows 2t+8, 2t+9 of column g
//   D (16, 8)    x: row g, columns 2t, 2t+1 | row g+8, same columns
//
// In bf16 two neighbours share a register, the lower index in the lower half. The fp32 fragments own the same elements;
// their product is plain FFMA with shuffles: it is there to check the bf16 kernels, 30 times slower and exact to fp32.
#pragma once

#include "kernels/cuda/cuda.h"

#include <cstdint>
#include <cstring>

namespace templar::cuda {

template <class T>
struct FragmentA;
template <>
struct FragmentA<__nv_bfloat16> {
    uint32_t x[4];
};
template <>
struct FragmentA<float> {
    float x[8];
};

template <class T>
struct FragmentB;
template <>
struct FragmentB<__nv_bfloat16> {
    uint32_t x[2];
};
template <>
struct FragmentB<float> {
    float x[4];
};

struct Accumulator {
    float x[4];
};

// Two numbers rounded to bf16 in one register.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    const __nv_bfloat162 halves = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &halves, sizeof bits);
    return bits;
}

// Two products' results, side by side, are the A operand of a next product.
__device__ __forceinline__ FragmentA<__nv_bfloat16> as_operand(const Accumulator& left, const Accumulator& right,
                                                               __nv_bfloat16) {
    return {{pack_bf16(left.x[0], left.x[1]), pack_bf16(left.x[2], left.x[3]), pack_bf16(right.x[0], right.x[1]),
             pack_bf16(right.x[2], right.x[3])}};
}
__device__ __forceinline__ FragmentA<float> as_operand(const Accumulator& left, const Accumulator& right, float) {
    return {{left.x[0], left.x[1], left.x[2], left.x[3], right.x[0], right.x[1], right.x[2], right.x[3]}};
}

// For the fp32 product on a GPU: lane by lane, a column of A and a row of B at a time.
__device__ __forceinline__ void mma_by_shuffles(Accumulator& d, const FragmentA<float>& a, const FragmentB<float>& b) {
    const int lane = threadIdx.x % 32, quad = lane / 4 * 4, column = lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < 16; ++k) {
        const int owner = k % 8 / 2, upper = k / 8, odd = k % 2;
        const float top = __shfl_sync(~0u, a.x[4 * upper + odd], quad + owner);
        const float bottom = __shfl_sync(~0u, a.x[4 * upper + 2 + odd], quad + owner);
        const float left = __shfl_sync(~0u, b.x[2 * upper + odd], 4 * column + owner);
        const float right = __shfl_sync(~0u, b.x[2 * upper + odd], 4 * (column + 1) + owner);
        d.x[0] += top * left;
        d.x[1] += top * right;
        d.x[2] += bottom * left;
        d.x[3] += bottom * right;
    }
}

#if defined(__CUDACC__)

// d += a·b
__device__ __forceinline__ void mma(Accumulator& d, const FragmentA<__nv_bfloat16>& a,
                                    const FragmentB<__nv_bfloat16>& b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(d.x[0]), "+f"(d.x[1]), "+f"(d.x[2]), "+f"(d.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
}
__device__ __forceinline__ void mma(Accumulator& d, const FragmentA<float>& a, const FragmentB<float>& b) {
    mma_by_shuffles(d, a, b);
}

// Four 8 × 8 matrices of bf16 from shared memory. Lane l names row l % 8 of matrix l / 8 (16 bytes, aligned) and gets
// to[i] = row l / 4, columns 2(l % 4) and the next, of matrix i; transposed: column l / 4, rows 2(l % 4) and the next.
__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
                 : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
                 : "memory");
}

#else  // the same through the emulator's warp: the layouts above, element by element

inline float element(const float* x, int i) {
    return x[i];
}
inline float element(const uint32_t* x, int i) {
    const uint32_t bits = i % 2 ? x[i / 2] & 0xffff0000u : x[i / 2] << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
void mma(Accumulator& d, const FragmentA<T>& of_a, const FragmentB<T>& of_b,
         simt::Where where = simt::Where::current()) {
    struct Operands {
        FragmentA<T> a;
        FragmentB<T> b;
    };
    const auto product = [](const Operands* lanes, Accumulator* results) {
        float a[16][16], b[16][8];
        for (int lane = 0; lane < 32; ++lane) {
            const int g = lane / 4, t = lane % 4;
            for (int i = 0; i < 8; ++i) a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = element(lanes[lane].a.x, i);
            for (int i = 0; i < 4; ++i) b[2 * t + i % 2 + i / 2 * 8][g] = element(lanes[lane].b.x, i);
        }
        for (int m = 0; m < 16; ++m) {
            float sum[8]{};
            for (int k = 0; k < 16; ++k)
                for (int n = 0; n < 8; ++n) sum[n] += a[m][k] * b[k][n];
            for (int n = 0; n < 8; ++n) results[m % 8 * 4 + n / 2].x[m / 8 * 2 + n % 2] = sum[n];
        }
    };
    const Accumulator sum = simt::compute_once<Accumulator>(~0u, Operands{of_a, of_b}, product, where);
    for (int i = 0; i < 4; ++i) d.x[i] += sum.x[i];
}

struct LoadedMatrices {
    uint32_t x[4];
};
template <bool transposed>
LoadedMatrices load_matrices_as(const void* row, simt::Where where) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) simt::fail_thread("ldmatrix: its row is not aligned to 16 bytes");
    const auto load = [](const void* const* rows, LoadedMatrices* results) {
        for (int i = 0; i < 4; ++i) {
            uint16_t matrix[8][8];
            for (int r = 0; r < 8; ++r) std::memcpy(matrix[r], rows[i * 8 + r], 16);
            for (int lane = 0; lane < 32; ++lane) {
                const int outer = lane / 4, inner = lane % 4 * 2;
                const uint32_t low = transposed ? matrix[inner][outer] : matrix[outer][inner];
                const uint32_t high = transposed ? matrix[inner + 1][outer] : matrix[outer][inner + 1];
                results[lane].x[i] = low | high << 16;
            }
        }
    };
    return simt::compute_once<LoadedMatrices>(~0u, row, load, where);
}
inline void load_matrices(uint32_t (&to)[4], const void* row, simt::Where where = simt::Where::current()) {
    std::memcpy(to, load_matrices_as<false>(row, where).x, sizeof to);
}
inline void load_matrices_transposed(uint32_t (&to)[4], const void* row, simt::Where where = simt::Where::current()) {
    std::memcpy(to, load_matrices_as<true>(row, where).x, sizeof to);
}

#endif

}  // namespace templar::cuda
