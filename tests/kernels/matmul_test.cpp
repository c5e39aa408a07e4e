#include "tests/kernels/kernel_test.h"

#include "kernels/cpu/matmul.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>

using namespace templar;
using namespace templar::test;

namespace {

struct Case {
    int64_t m, n, k;
    bool transpose_a, transpose_b, accumulate;
};

struct Named {
    std::string name;
    Matmul matmul;
};

// The product of every table, and our own kernel of every instruction set beside oneDNN's.
std::vector<Named> products() {
    std::vector<Named> list;
    for (const auto& [isa, ops] : tables()) {
        list.push_back({"own " + isa, own_matmul(isa.c_str())});
        if (ops->matmul != own_matmul(isa.c_str())) list.push_back({"table " + isa, ops->matmul});
    }
    return list;
}

Values product(const Named& named, const Case& t, const Values& a, const Values& b, const Values& before) {
    return on_all_threads([&](Stream& stream) {
        Values c = before;
        named.matmul(stream, Tensor(c.data(), {t.m, t.n}),
                     t.transpose_a ? Tensor(a.data(), {t.k, t.m}) : Tensor(a.data(), {t.m, t.k}),
                     t.transpose_a,
                     t.transpose_b ? Tensor(b.data(), {t.n, t.k}) : Tensor(b.data(), {t.k, t.n}),
                     t.transpose_b, t.accumulate);
        return c;
    });
}

void check_product(const Named& named, const Case& t) {
    CAPTURE(named.name);
    CAPTURE(t.m);
    CAPTURE(t.n);
    CAPTURE(t.k);
    CAPTURE(t.transpose_a);
    CAPTURE(t.transpose_b);
    const Values a = normal(t.m * t.k, 1), b = normal(t.k * t.n, 2);
    // What must be overwritten may hold anything.
    const Values before = t.accumulate ? normal(t.m * t.n, 3) : Values(t.m * t.n, NAN);
    const Values got = product(named, t, a, b, before);
    Doubles want(t.m * t.n, 0.0);
    for (int64_t i = 0; i < t.m; ++i)
        for (int64_t p = 0; p < t.k; ++p) {
            const double left = t.transpose_a ? a[p * t.m + i] : a[i * t.k + p];
            for (int64_t j = 0; j < t.n; ++j)
                want[i * t.n + j] += left * (t.transpose_b ? b[j * t.k + p] : b[p * t.n + j]);
        }
    if (t.accumulate)
        for (size_t i = 0; i < want.size(); ++i) want[i] += before[i];
    check_close(got, want, 1e-6, 2e-6 * std::sqrt(static_cast<double>(t.k)));
}

}  // namespace

TEST_CASE("matmul agrees with its formula for all transpositions and odd sizes") {
    constexpr int64_t sizes[][3] = {{1, 1, 1},    {1, 5, 3},     {3, 1, 2},     {5, 7, 11},
                                    {6, 64, 256}, {13, 65, 257}, {64, 48, 1},   {97, 33, 5},
                                    {257, 3, 64}, {70, 400, 31}, {300, 70, 513}};
    for (const Named& named : products())
        for (const auto& [m, n, k] : sizes)
            for (int flags = 0; flags < 8; ++flags)
                check_product(named, {m, n, k, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0});
}

// The shapes at which a library would be tempted to share out one sum among its threads.
TEST_CASE("matmul gives the same bits on any number of threads") {
    constexpr Case cases[] = {
        {512, 384, 256, false, true, false},   // activations · weightᵀ
        {512, 256, 384, false, false, false},  // gradient · weight
        {384, 256, 2048, true, false, true},   // gradientᵀ · activations, tall and skinny
        {16, 16, 8192, true, false, true},    {8, 24, 4096, false, true, false},
        {1, 1000, 512, false, true, false},   {1000, 1, 512, false, false, false},
        {520, 777, 100, false, false, true},
    };
    const int callers_threads = omp_get_max_threads();
    for (const Named& named : products())
        for (const Case& t : cases) {
            CAPTURE(named.name);
            CAPTURE(t.m);
            product(named, t, normal(t.m * t.k, 1), normal(t.k * t.n, 2), normal(t.m * t.n, 3));
            CHECK(omp_get_max_threads() == callers_threads);
        }
}

TEST_CASE("matmul refuses shapes that do not fit") {
    Stream stream;
    Values a(6), b(6), c(6);
    for (const Named& named : products())
        CHECK_THROWS(named.matmul(stream, Tensor(c.data(), {2, 2}), Tensor(a.data(), {2, 3}), false,
                                  Tensor(b.data(), {2, 3}), false, false));
}
