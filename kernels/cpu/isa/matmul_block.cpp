// Our own matrix product, for builds without oneDNN: both factors are packed into panels, the panels
// multiplied tile by tile.
#include "kernels/cpu/isa/gemm_tile.h"
#include "kernels/cpu/isa/model_ops.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/scratch.h"

namespace templar::TEMPLAR_ISA {

namespace {

constexpr int64_t depth = 256;  // products of this length are added to c at a time

// panel (k, tile): panel[i·tile + j] = from[i·deep + j·wide] for j < width, 0 for the rest. One of the
// strides is 1.
template <int64_t tile>
inline void pack(float* panel, const float* from, int64_t deep, int64_t wide, int64_t k, int64_t width) {
    constexpr int64_t line = 16;  // floats that are read together where the source runs along k
    if (width > tile) width = tile;
    for (int64_t begin = 0; begin < k; begin += line) {
        const int64_t end = begin + line < k ? begin + line : k;
        if (wide == 1) {
            for (int64_t i = begin; i < end; ++i)
                for (int64_t j = 0; j < width; ++j) panel[i * tile + j] = from[i * deep + j];
        } else {
            for (int64_t j = 0; j < width; ++j)
                for (int64_t i = begin; i < end; ++i) panel[i * tile + j] = from[i * deep + j * wide];
        }
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j = width; j < tile; ++j) panel[i * tile + j] = 0.0f;
    }
}

// One tile at (row, col) of c, through a buffer where it hangs over the edge.
void write_tile(const Product& p, int64_t row, int64_t col, const float* left, const float* right, int64_t k,
                bool accumulate) {
    float* const c = p.c + row * p.ldc + col;
    const int64_t height = p.m - row, width = p.n - col;
    if (height >= tile_rows && width >= tile_cols)
        return tile<tile_rows, tile_vectors>(c, p.ldc, {left, 1, tile_rows}, right, tile_cols, k, accumulate);
    float edge[tile_rows * tile_cols];
    tile<tile_rows, tile_vectors>(edge, tile_cols, {left, 1, tile_rows}, right, tile_cols, k, false);
    for (int64_t i = 0; i < height && i < tile_rows; ++i)
        for (int64_t j = 0; j < width && j < tile_cols; ++j)
            c[i * p.ldc + j] = (accumulate ? c[i * p.ldc + j] : 0.0f) + edge[i * tile_cols + j];
}

void block_kernel(const Product& p) {
    const int64_t panels = (p.m + tile_rows - 1) / tile_rows;
    float* const left = thread_scratch(panels * depth * tile_rows + depth * tile_cols);
    float* const right = left + panels * depth * tile_rows;
    for (int64_t first = 0; first == 0 || first < p.k; first += depth) {
        const int64_t k = p.k - first < depth ? p.k - first : depth;
        const bool accumulate = p.accumulate || first > 0;
        for (int64_t i = 0; i < panels; ++i)
            pack<tile_rows>(left + i * depth * tile_rows, p.a + i * tile_rows * p.a_row + first * p.a_col,
                            p.a_col, p.a_row, k, p.m - i * tile_rows);
        for (int64_t col = 0; col < p.n; col += tile_cols) {
            pack<tile_cols>(right, p.b + first * p.b_row + col * p.b_col, p.b_row, p.b_col, k, p.n - col);
            for (int64_t i = 0; i < panels; ++i)
                write_tile(p, i * tile_rows, col, left + i * depth * tile_rows, right, k, accumulate);
        }
    }
}

}  // namespace

void matmul(Stream& stream, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b,
            bool accumulate) {
    matmul_in_blocks(stream, make_product(c, a, transpose_a, b, transpose_b, accumulate), block_kernel);
}

}  // namespace templar::TEMPLAR_ISA
