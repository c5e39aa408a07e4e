// What cuBLASLt is asked for, as far as it can be said and tested without CUDA: the shape of a product, how
// row-major operands look to a column-major library, and the text in which chosen algorithms are kept.
#pragma once

#include "kernels/tensor.h"

#include <array>
#include <compare>
#include <map>
#include <string>
#include <string_view>

namespace templar::cuda {

// c (m, n) = op(a)·op(b) + (accumulate ? c : 0), all row-major and contiguous: what an algorithm is chosen
// for.
struct MatmulShape {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    DType in, out;
    bool accumulate;
    int alignment;  // the largest power of two up to 256 that divides every operand's address

    auto operator<=>(const MatmulShape&) const = default;
};

// Throws Error(internal) where extents or types do not fit (kernels/ops.h).
MatmulShape matmul_shape(Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate);

// A row-major (r, c) matrix is a column-major c x r one in the same memory. So cuBLASLt is asked for cᵀ =
// op(b)ᵀ·op(a)ᵀ with b as its left operand. The leading dimension is `rows`; `transpose` says how the operand
// is read.
struct ColumnMajor {
    int64_t rows, cols;
    bool transpose;
};
ColumnMajor left_operand(const MatmulShape& shape);   // b
ColumnMajor right_operand(const MatmulShape& shape);  // a
ColumnMajor result(const MatmulShape& shape);         // c

// cublasLtMatmulAlgo_t, which may be kept and restored for the same version of the library.
using MatmulAlgorithm = std::array<uint64_t, 8>;

// One line for each choice: machine, shape and algorithm, between tabs. `machine` names all that a choice
// depends on: the version of the library and the GPU. A choice holds only for its own machine.
std::string plan_line(std::string_view machine, const MatmulShape& shape, const MatmulAlgorithm& algorithm);

// The choices for `machine`; of two for one shape the last. A last line that was not finished is left out.
// Throws Error(input) on any other that is no plan; `name` is the file's, for the error.
std::map<MatmulShape, MatmulAlgorithm> read_plans(std::string_view text, std::string_view machine,
                                                  std::string_view name);

}  // namespace templar::cuda
