// What cuBLASLt is asked for, checked without it: a column-major product by hand must be the row-major one.
#include "kernels/cuda/matmul_plan.h"

#include "base/error.h"
#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace templar;
using namespace templar::cuda;

namespace {

float at(const ColumnMajor& matrix, const std::vector<float>& values, int64_t row, int64_t col) {
    return matrix.transpose ? values[row * matrix.rows + col] : values[col * matrix.rows + row];
}

const MatmulShape any_shape{2048, 16384, 32, true, false, DType::bf16, DType::f32, true, 64};
const MatmulAlgorithm any_algorithm{1, 0xffffffffffffffff, 0, 3, 4, 5, 6, 0x0123456789abcdef};

}  // namespace

TEST_CASE("a row-major product is the column-major one that cuBLASLt is asked for") {
    const int64_t m = 3, n = 4, k = 5;
    for (const bool transpose_a : {false, true})
        for (const bool transpose_b : {false, true}) {
            const std::vector<float> a = test::normal(m * k, 1), b = test::normal(k * n, 2);
            std::vector<float> c(m * n), expected(m * n);
            const Tensor ta = transpose_a ? Tensor(a.data(), {k, m}) : Tensor(a.data(), {m, k});
            const Tensor tb = transpose_b ? Tensor(b.data(), {n, k}) : Tensor(b.data(), {k, n});
            const MatmulShape shape =
                matmul_shape(Tensor(c.data(), {m, n}), ta, transpose_a, tb, transpose_b, false);
            const ColumnMajor left = left_operand(shape), right = right_operand(shape), out = result(shape);
            REQUIRE(out.rows == n);
            REQUIRE(out.cols == m);
            for (int64_t col = 0; col < out.cols; ++col)
                for (int64_t row = 0; row < out.rows; ++row)
                    for (int64_t i = 0; i < k; ++i)
                        c[col * out.rows + row] += at(left, b, row, i) * at(right, a, i, col);
            for (int64_t i = 0; i < m; ++i)
                for (int64_t j = 0; j < n; ++j)
                    for (int64_t l = 0; l < k; ++l)
                        expected[i * n + j] += (transpose_a ? a[l * m + i] : a[i * k + l]) *
                                               (transpose_b ? b[j * k + l] : b[l * n + j]);
            for (int64_t i = 0; i < m * n; ++i) CHECK(c[i] == doctest::Approx(expected[i]));
        }
}

TEST_CASE("a product's operands must fit, and their common alignment is part of its shape") {
    alignas(256) static float memory[1024];
    const auto shape = [](int64_t first, DType b, std::initializer_list<int64_t> extents) {
        return matmul_shape(Tensor(memory, {2, 3}), Tensor(memory + first, {2, 4}), false,
                            Tensor(memory, b, extents), false, true);
    };
    CHECK(shape(0, DType::f32, {4, 3}).alignment == 256);
    CHECK(shape(4, DType::f32, {4, 3}).alignment == 16);
    CHECK(shape(1, DType::f32, {4, 3}).alignment == 4);
    CHECK_THROWS_AS(shape(0, DType::f32, {3, 4}), Error);
    CHECK_THROWS_AS(shape(0, DType::bf16, {4, 3}), Error);
}

TEST_CASE("choices of algorithms are kept as text, each for its machine") {
    MatmulShape other = any_shape;
    other.accumulate = false;
    const std::string here = plan_line("here", any_shape, any_algorithm),
                      there = plan_line("there", other, any_algorithm);
    const auto plans = read_plans(here + there, "here", "plans");
    REQUIRE(plans.size() == 1);
    CHECK(plans.at(any_shape) == any_algorithm);

    // Of two for one shape the last holds: it was chosen when the library refused the one before. A line cut short by
    // a crash is left out.
    MatmulAlgorithm later = any_algorithm;
    later[0] = 9;
    CHECK(read_plans(here + plan_line("here", any_shape, later), "here", "plans").at(any_shape) == later);
    CHECK(read_plans(here.substr(0, here.size() - 1), "here", "plans").empty());

    std::string short_word = here;
    short_word.erase(short_word.size() - 2, 1);
    for (const std::string& bad : {std::string("\n"), std::string("here\t2048 16384\tx\n"), short_word,
                                   "here\t1 1 1 nx bf16 f32 add 64" + here.substr(here.rfind('\t'))}) {
        CAPTURE(bad);
        CHECK_THROWS_WITH_AS(
            read_plans(here + bad, "here", "plans"),
            "plans line 2: not a plan of a matrix product; delete the file to have them chosen again", Error);
    }
}
