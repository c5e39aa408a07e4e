#include "base/random.h"
#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

using namespace templar;

namespace {

std::vector<float> normal_values(int64_t n, const char* key) {
    CounterRng rng(sha256(as_bytes(key)));
    std::vector<float> values(n);
    for (float& value : values) value = static_cast<float>(rng.normal());
    return values;
}

double basis(int n, int j, int b) {
    return std::sqrt((b == 0 ? 1.0 : 2.0) / n) * std::cos(std::numbers::pi * (2 * j + 1) * b / (2 * n));
}

// The definition, in double.
std::vector<double> plain_encode(const std::vector<float>& x, ChunkGrid grid) {
    const int h = grid.edge_rows, w = grid.edge_cols;
    const int64_t across = grid.cols / w;
    std::vector<double> coef(x.size());
    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        const float* corner = x.data() + chunk / across * h * grid.cols + chunk % across * w;
        std::vector<double> rows(h * w);  // (j, v)
        for (int j = 0; j < h; ++j)
            for (int v = 0; v < w; ++v)
                for (int l = 0; l < w; ++l) rows[j * w + v] += corner[j * grid.cols + l] * basis(w, l, v);
        for (int u = 0; u < h; ++u)
            for (int v = 0; v < w; ++v)
                for (int j = 0; j < h; ++j)
                    coef[chunk * h * w + u * w + v] += rows[j * w + v] * basis(h, j, u);
    }
    return coef;
}

// Square and not, odd and even, with and without lanes to spare, 1-D pieces, single elements.
const std::vector<ChunkGrid> grids = {
    {128, 192, 64, 64}, {96, 80, 48, 40}, {130, 60, 26, 60}, {58, 150, 29, 50},
    {63, 61, 63, 61},   {35, 33, 7, 11},  {1, 640, 1, 64},   {1, 67, 1, 1},
    {67, 3, 1, 3},      {64, 67, 64, 1},  {2, 2, 2, 2},      {1, 1, 1, 1},
};

}  // namespace

TEST_CASE("dct_encode is the orthonormal DCT-II of every chunk, on every instruction set") {
    for (const auto& [isa, ops] : test::tables())
        for (const ChunkGrid& grid : grids) {
            CAPTURE(isa);
            CAPTURE(grid.edge_rows);
            CAPTURE(grid.edge_cols);
            const std::vector<float> x = normal_values(grid.rows * grid.cols, "dct");
            std::vector<float> coef(x.size(), NAN);
            Stream stream{2};
            ops->dct_encode(stream, Tensor(coef.data(), {grid.chunks(), grid.chunk_size()}),
                            Tensor(x.data(), {grid.rows, grid.cols}), grid);
            const std::vector<double> expected = plain_encode(x, grid);
            double worst = 0;
            for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(coef[i] - expected[i]));
            CHECK(worst < 3e-6);  // values of size 1, sums of 64 + 64 terms in fp32
        }
}

TEST_CASE("dct_decode undoes dct_encode") {
    for (const auto& [isa, ops] : test::tables())
        for (const ChunkGrid& grid : grids) {
            CAPTURE(isa);
            CAPTURE(grid.edge_rows);
            CAPTURE(grid.edge_cols);
            const std::vector<float> x = normal_values(grid.rows * grid.cols, "inverse");
            std::vector<float> coef(x.size()), back(x.size(), NAN);
            Stream stream{2};
            const Tensor frequencies(coef.data(), {grid.chunks(), grid.chunk_size()});
            ops->dct_encode(stream, frequencies, Tensor(x.data(), {grid.rows, grid.cols}), grid);
            ops->dct_decode(stream, Tensor(back.data(), {grid.rows, grid.cols}), frequencies, grid);
            double worst = 0;
            for (size_t i = 0; i < x.size(); ++i)
                worst = std::max(worst, static_cast<double>(std::abs(back[i] - x[i])));
            CHECK(worst < 5e-6);
        }
}

TEST_CASE("the DCT does not depend on the number of threads") {
    for (const auto& [isa, ops] : test::tables()) {
        const ChunkGrid grid{320, 192, 64, 48};
        const std::vector<float> x = normal_values(grid.rows * grid.cols, "threads");
        std::vector<float> first(x.size()), first_back(x.size());
        for (int threads : {1, 2, 3}) {
            std::vector<float> coef(x.size()), back(x.size());
            Stream stream{threads};
            const Tensor frequencies(coef.data(), {grid.chunks(), grid.chunk_size()});
            ops->dct_encode(stream, frequencies, Tensor(x.data(), {grid.rows, grid.cols}), grid);
            ops->dct_decode(stream, Tensor(back.data(), {grid.rows, grid.cols}), frequencies, grid);
            if (threads == 1) {
                first = coef;
                first_back = back;
            }
            CHECK(std::memcmp(first.data(), coef.data(), coef.size() * sizeof(float)) == 0);
            CHECK(std::memcmp(first_back.data(), back.data(), back.size() * sizeof(float)) == 0);
        }
    }
}
