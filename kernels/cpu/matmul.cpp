#include "kernels/cpu/matmul.h"

#include "base/error.h"

#ifdef TEMPLAR_HAVE_DNNL
#include <dnnl.h>
#include <omp.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace templar {

#ifdef TEMPLAR_ISA_avx2
namespace avx2 {
void matmul(Stream&, Tensor, Tensor, bool, Tensor, bool, bool);
}
namespace avx512 {
void matmul(Stream&, Tensor, Tensor, bool, Tensor, bool, bool);
}
#endif
namespace portable {
void matmul(Stream&, Tensor, Tensor, bool, Tensor, bool, bool);
}

namespace {

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Blocks of about 256 x 384: large enough for a kernel to pack its operands, small enough that the last one
// is not waited for. A multiple of four down, because most machines have an even number of cores.
int64_t blocks_down(int64_t rows) {
    return rows <= 256 ? ceil_div(rows, 128) : ceil_div(rows, 4 * 256) * 4;
}
int64_t blocks_across(int64_t cols) {
    return ceil_div(cols, 384);
}

// Part `index` of `parts` almost equal parts of `extent`, cut at multiples of 16.
int64_t cut(int64_t extent, int64_t parts, int64_t index) {
    return std::min(extent, ceil_div(extent * index / parts, 16) * 16);
}

}  // namespace

Product make_product(Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate) {
    const int64_t m = c.rows(), n = c.last();
    const int64_t k = transpose_a ? a.rows() : a.last();
    const int64_t a_m = transpose_a ? a.last() : a.rows();
    const int64_t b_k = transpose_b ? b.last() : b.rows(), b_n = transpose_b ? b.rows() : b.last();
    if (a_m != m || b_n != n || b_k != k)
        fail(ExitCode::internal, "matmul: c is {}x{}, op(a) {}x{}, op(b) {}x{}", m, n, a_m, k, b_k, b_n);
    return {.m = m,
            .n = n,
            .k = k,
            .a = a.f32(),
            .a_row = transpose_a ? 1 : a.last(),
            .a_col = transpose_a ? a.last() : 1,
            .b = b.f32(),
            .b_row = transpose_b ? 1 : b.last(),
            .b_col = transpose_b ? b.last() : 1,
            .c = c.f32(),
            .ldc = n,
            .accumulate = accumulate};
}

void matmul_in_blocks(Stream& stream, const Product& p, BlockKernel kernel) {
    const int64_t down = blocks_down(p.m), across = blocks_across(p.n);
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(stream.threads)
    for (int64_t i = 0; i < down; ++i)
        for (int64_t j = 0; j < across; ++j) {
            const int64_t row = cut(p.m, down, i), col = cut(p.n, across, j);
            Product block = p;
            block.m = cut(p.m, down, i + 1) - row;
            block.n = cut(p.n, across, j + 1) - col;
            if (block.m == 0 || block.n == 0) continue;
            block.a += row * p.a_row;
            block.b += col * p.b_col;
            block.c += row * p.ldc + col;
            kernel(block);
        }
}

#ifdef TEMPLAR_HAVE_DNNL

namespace {

void dnnl_block(const Product& p) {
    // Inside a team of one, oneDNN would start its own threads; this setting ends with the parallel region.
    omp_set_num_threads(1);
    // Of a single row or column both strides may be 1; only one reading then has a valid leading dimension.
    const bool transpose_a = p.a_col != 1 || p.a_row < p.k, transpose_b = p.b_col != 1 || p.b_row < p.n;
    const dnnl_status_t status =
        dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f, p.a,
                   transpose_a ? p.a_col : p.a_row, p.b, transpose_b ? p.b_col : p.b_row,
                   p.accumulate ? 1.0f : 0.0f, p.c, p.ldc);
    if (status != dnnl_success) std::abort();
}

void matmul(Stream& stream, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b,
            bool accumulate) {
    matmul_in_blocks(stream, make_product(c, a, transpose_a, b, transpose_b, accumulate), dnnl_block);
}

}  // namespace

Matmul dnnl_matmul() {
    return matmul;
}

#else

Matmul dnnl_matmul() {
    return nullptr;
}

#endif

Matmul own_matmul(const char* isa) {
    const std::string_view wanted = isa;
#ifdef TEMPLAR_ISA_avx2
    if (wanted == "avx512") return avx512::matmul;
    if (wanted == "avx2") return avx2::matmul;
#endif
    return wanted == "portable" ? portable::matmul : nullptr;
}

}  // namespace templar
