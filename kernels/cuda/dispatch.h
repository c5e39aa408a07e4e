// What launchers share: checks of what they are given, and the choice of the kernel's types.
#pragma once

#include "base/error.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/vector.h"
#include "kernels/tensor.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace templar::cuda {

// Throws Error(internal) unless `expected` holds; e.g. require("rope_forward", size % 2 == 0, "an even head size").
inline void require(const char* operation, bool holds, const char* expected) {
    if (!holds) fail(ExitCode::internal, "{}: expected {}", operation, expected);
}

// Throws Error(internal) unless every tensor that is present has this type.
inline void require_type(const char* operation, DType type, std::initializer_list<Tensor> tensors) {
    for (const Tensor& tensor : tensors)
        if (tensor && tensor.dtype != type)
            fail(ExitCode::internal, "{}: a tensor is {}, expected {}", operation, name_of(tensor.dtype),
                 name_of(type));
}

// run.operator()<T>() with the compute type's T: float or __nv_bfloat16.
template <class Run>
void with_compute_type(const char* operation, DType type, Run&& run) {
    switch (type) {
        case DType::f32: return run.template operator()<float>();
        case DType::bf16: return run.template operator()<__nv_bfloat16>();
        default: fail(ExitCode::internal, "{}: computes in f32 or bf16, not {}", operation, name_of(type));
    }
}

// run.operator()<n>() with the numbers per step: pack_size<T> where there are whole packs, else 1.
template <class T, class Run>
void with_width(bool whole_packs, Run&& run) {
    if (whole_packs) run.template operator()<pack_size<T>>();
    else run.template operator()<1>();
}

template <class T>
T* data(const Tensor& tensor) {
    return static_cast<T*>(tensor.data);
}

constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

inline dim3 grid_of(int64_t x, int64_t y = 1) { return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)); }

// Block (row, part) with a thread for each of the row's steps: no thread divides to find its place.
struct RowGrid {
    dim3 grid, block;
};
inline RowGrid row_grid(int64_t rows, int64_t steps, int64_t max_threads) {
    const int64_t threads = std::min(round_up(steps, 32), max_threads);
    return {grid_of(rows, ceil_div(steps, threads)), grid_of(threads)};
}

}  // namespace templar::cuda
