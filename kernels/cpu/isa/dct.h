// The orthonormal two-dimensional DCT-II of one chunk (docs/protocol.md §5).
#pragma once

#include "kernels/cpu/isa/table.h"
#include "kernels/dct_basis.h"

namespace templar::TEMPLAR_ISA {

// For chunks of one size and one direction; holds tables and scratch (48 KB), so one for each thread, on its
// stack. All arguments are row-major: x (edge_rows, edge_cols) with the given row stride, coef (edge_rows,
// edge_cols) dense.
class ChunkDct {
  public:
    enum class Direction { encode, decode };
    ChunkDct(int edge_rows, int edge_cols, Direction direction);

    // coef[u][v] = Σ_j Σ_l x[j][l]·B[j][u]·B[l][v]
    void encode(float* coef, const float* x, int64_t stride);
    // x[j][l] = Σ_u Σ_v coef[u][v]·B[j][u]·B[l][v]
    void decode(float* x, int64_t stride, const float* coef);

  private:
    static constexpr int max_edge = max_chunk_edge;

    void fold_rows(const float* x, int64_t stride);
    void fold_columns();

    int rows_, cols_;
    int width_;               // cols_ rounded up to whole vectors: the row stride of the matrices below
    const float* row_basis_;  // (rows, rows)
    const float* col_basis_;  // (cols, cols)
    alignas(64) float right_[max_edge * max_edge];
    alignas(64) float folded_[max_edge * max_edge];
    alignas(64) float product_[max_edge * max_edge];
};

}  // namespace templar::TEMPLAR_ISA
