// The DCT's basis as a kernel's parameter.
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/dct_basis.h"

#include <array>

namespace templar::cuda {

// B (n, n) has 4n + 1 different numbers, small enough for a kernel's parameter: B[j][0] = first, and
// B[j][b] = others[(2j + 1)·b mod 4n].
struct BasisValues {
    float first;
    float others[4 * max_chunk_edge];
};

// The basis of this edge; lives as long as the program.
inline const BasisValues& basis_values(int n) {
    static const auto all = [] {
        std::array<BasisValues, max_chunk_edge + 1> result{};
        for (int edge = 1; edge <= max_chunk_edge; ++edge) {
            const float* const basis = dct_basis(edge);
            result[edge].first = basis[0];
            for (int j = 0; j < edge; ++j)
                for (int b = 1; b < edge; ++b) result[edge].others[(2 * j + 1) * b % (4 * edge)] = basis[j * edge + b];
        }
        return result;
    }();
    return all[n];
}

}  // namespace templar::cuda
