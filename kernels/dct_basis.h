// The orthonormal DCT-II basis as fp32 tables, the same bits on every machine (docs/protocol.md §6).
#pragma once

namespace templar {

inline constexpr int max_chunk_edge = 64;

// B (n, n) row-major, n in [1, 64]: B[j][b] = fp32 rounding of a_b·cos(pi·(2j + 1)·b/(2n)), a_0 = sqrt(1/n),
// a_b = sqrt(2/n); j the position, b the frequency. Encode: c[b] = Σ_j B[j][b]·x[j]; decode: x[j] = Σ_b
// B[j][b]·c[b]. The table lives as long as the program.
const float* dct_basis(int n);

}  // namespace templar
