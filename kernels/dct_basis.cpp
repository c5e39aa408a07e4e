#include "kernels/dct_basis.h"

#include "base/error.h"
#include "base/exact_cos.h"

#include <array>
#include <cmath>
#include <vector>

namespace templar {

namespace {

using Tables = std::array<std::vector<float>, max_chunk_edge + 1>;

std::vector<float> make_basis(int n) {
    std::vector<double> cosine(4 * n);  // of every multiple of pi/(2n) in one turn
    for (int m = 0; m < 4 * n; ++m) cosine[m] = exact_cos_pi(m, 2 * n);
    std::vector<float> basis(n * n);  // (n, n)
    for (int j = 0; j < n; ++j)
        for (int b = 0; b < n; ++b) {
            const double scale = std::sqrt((b == 0 ? 1.0 : 2.0) / n);
            basis[j * n + b] = static_cast<float>(scale * cosine[(2 * j + 1) * b % (4 * n)]);
        }
    return basis;
}

Tables make_tables() {
    Tables tables;
    for (int n = 1; n <= max_chunk_edge; ++n) tables[n] = make_basis(n);
    return tables;
}

}  // namespace

const float* dct_basis(int n) {
    if (n < 1 || n > max_chunk_edge)
        fail(ExitCode::internal, "dct_basis: expected a chunk edge in [1, {}], found {}", max_chunk_edge, n);
    static const Tables tables = make_tables();
    return tables[n].data();
}

}  // namespace templar
