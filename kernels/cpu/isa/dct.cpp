// Two small matrix products per chunk. The basis is symmetric about the middle of the chunk for even
// frequencies and antisymmetric for odd ones, so that sums and differences of mirrored elements halve both
// products: 64 multiply-adds an element for 64 × 64 chunks.
#include "kernels/cpu/isa/dct.h"

#include "kernels/cpu/isa/simd.h"

#include <cstring>

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace templar::TEMPLAR_ISA {

namespace {

#if defined(__AVX512F__)
constexpr int tile_vectors = 4;  // 4 rows × 4 vectors of sums: 16 of 32 registers
#else
constexpr int tile_vectors = 2;  // 4 rows × 2 vectors of sums: 8 of 16 registers
#endif
constexpr int tile_rows = 4;

typedef int64_t Pairs __attribute__((vector_size(lanes * 4)));

inline FloatVector multiply_add(FloatVector a, FloatVector b, FloatVector c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

// The left factor of a product: element (row, k) at data[row·row_stride + k·k_stride].
struct Left {
    const float* data;
    int64_t row_stride, k_stride;
};

// One value in every lane.
struct One {
    static FloatVector spread(const float* p) { return broadcast(*p); }
};
// p[0] in the even lanes, p[1] in the odd ones.
struct EvenOdd {
    static FloatVector spread(const float* p) {
        int64_t both;
        std::memcpy(&both, p, sizeof both);
        return reinterpret_cast<FloatVector>(both - Pairs{});
    }
};

// out (R, V vectors) = left (R, depth) · right (depth, V vectors)
template <class Lanes, int R, int V>
inline void tile(float* out, int64_t out_stride, Left left, const float* right, int64_t right_stride,
                 int depth) {
    FloatVector sum[R][V] = {};
    for (int k = 0; k < depth; ++k) {
        FloatVector b[V];
        for (int v = 0; v < V; ++v) b[v] = load(right + k * right_stride + v * lanes);
        for (int r = 0; r < R; ++r) {
            const FloatVector a = Lanes::spread(left.data + r * left.row_stride + k * left.k_stride);
            for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(a, b[v], sum[r][v]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(out + r * out_stride + v * lanes, sum[r][v]);
}

template <class Lanes, int V>
void column_of_tiles(float* out, int64_t out_stride, Left left, const float* right, int64_t right_stride,
                     int rows, int depth) {
    int r = 0;
    for (; r + tile_rows <= rows; r += tile_rows) {
        tile<Lanes, tile_rows, V>(out, out_stride, left, right, right_stride, depth);
        out += tile_rows * out_stride;
        left.data += tile_rows * left.row_stride;
    }
    for (; r < rows; ++r) {
        tile<Lanes, 1, V>(out, out_stride, left, right, right_stride, depth);
        out += out_stride;
        left.data += left.row_stride;
    }
}

// out (rows, width) = left (rows, depth) · right (depth, width); width in whole vectors
template <class Lanes>
void multiply(float* out, int64_t out_stride, Left left, const float* right, int64_t right_stride, int rows,
              int depth, int width) {
    for (int c = 0; c < width; c += tile_vectors * lanes) {
        const int vectors = (width - c) / lanes;
        if (vectors >= tile_vectors)
            column_of_tiles<Lanes, tile_vectors>(out + c, out_stride, left, right + c, right_stride, rows,
                                                 depth);
        else if (vectors == 1)
            column_of_tiles<Lanes, 1>(out + c, out_stride, left, right + c, right_stride, rows, depth);
        else if (vectors == 2)
            column_of_tiles<Lanes, 2>(out + c, out_stride, left, right + c, right_stride, rows, depth);
        else
            column_of_tiles<Lanes, 3>(out + c, out_stride, left, right + c, right_stride, rows, depth);
    }
}

// Copies a matrix row by row; inline, where memcpy would be a call for every short row.
inline void copy_rows(float* out, int64_t out_stride, const float* in, int64_t in_stride, int rows,
                      int cols) {
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) out[r * out_stride + c] = in[r * in_stride + c];
}

}  // namespace

ChunkDct::ChunkDct(int edge_rows, int edge_cols, Direction direction)
    : rows_(edge_rows),
      cols_(edge_cols),
      width_((edge_cols + lanes - 1) / lanes * lanes),
      row_basis_(dct_basis(edge_rows)),
      col_basis_(dct_basis(edge_cols)) {
    // Lanes beyond the last column are computed and dropped: they must hold numbers.
    std::memset(right_, 0, sizeof right_);
    std::memset(folded_, 0, sizeof folded_);
    std::memset(product_, 0, sizeof product_);
    if (direction == Direction::encode) {
        copy_rows(right_, width_, col_basis_, cols_, cols_ - cols_ / 2, cols_);
        return;
    }
    for (int v = 0; v < cols_; ++v)
        for (int l = 0; l < cols_; ++l) right_[v * width_ + l] = col_basis_[l * cols_ + v];
}

// folded_ = the sums x[j] + x[rows - 1 - j] (and the middle row of an odd number), then the differences.
void ChunkDct::fold_rows(const float* x, int64_t stride) {
    const int half = rows_ / 2, sums = rows_ - half;
    for (int j = 0; j < half; ++j) {
        const float* upper = x + j * stride;
        const float* lower = x + (rows_ - 1 - j) * stride;
        float* sum = folded_ + j * width_;
        float* difference = folded_ + (sums + j) * width_;
        for (int l = 0; l < cols_; ++l) {
            sum[l] = upper[l] + lower[l];
            difference[l] = upper[l] - lower[l];
        }
    }
    if (sums > half) copy_rows(folded_ + half * width_, width_, x + half * stride, stride, 1, cols_);
}

// Each row t of product_ becomes pairs t[l] + t[cols - 1 - l], t[l] - t[cols - 1 - l] in folded_ (row stride
// max_edge).
void ChunkDct::fold_columns() {
    const int half = cols_ / 2;
    for (int u = 0; u < rows_; ++u) {
        const float* row = product_ + u * width_;
        float* pairs = folded_ + u * max_edge;
        for (int l = 0; l < half; ++l) {
            pairs[2 * l] = row[l] + row[cols_ - 1 - l];
            pairs[2 * l + 1] = row[l] - row[cols_ - 1 - l];
        }
        if (cols_ > 2 * half) {
            pairs[2 * half] = row[half];
            pairs[2 * half + 1] = 0;
        }
    }
}

void ChunkDct::encode(float* coef, const float* x, int64_t stride) {
    const int half = rows_ / 2, sums = rows_ - half;
    fold_rows(x, stride);
    multiply<One>(product_, 2 * width_, {row_basis_, 2, rows_}, folded_, width_, sums, sums, width_);
    multiply<One>(product_ + width_, 2 * width_, {row_basis_ + 1, 2, rows_}, folded_ + sums * width_, width_,
                  half, half, width_);
    fold_columns();
    const bool dense = width_ == cols_;
    float* out = dense ? coef : product_;
    multiply<EvenOdd>(out, width_, {folded_, max_edge, 2}, right_, width_, rows_, cols_ - cols_ / 2, width_);
    if (!dense) copy_rows(coef, cols_, product_, width_, rows_, cols_);
}

void ChunkDct::decode(float* x, int64_t stride, const float* coef) {
    multiply<One>(product_, width_, {coef, cols_, 1}, right_, width_, rows_, cols_, width_);
    multiply<One>(folded_, width_, {row_basis_, rows_, 1}, product_, width_, rows_, rows_, width_);
    copy_rows(x, stride, folded_, width_, rows_, cols_);
}

}  // namespace templar::TEMPLAR_ISA
