// The matrix product in the three forms of a linear layer y = x·wᵀ: y, dx = dy·w, dw += dyᵀ·x (fp32).
#include "kernels/cases/op_case.h"

#include <fmt/core.h>

#include <array>
#include <cmath>

namespace templar {

namespace {

struct Product {
    std::string shape;
    int64_t m, n, k;
    bool transpose_a = false, transpose_b = false, accumulate = false;
    bool fp32_result = false;  // the gradient of a weight
    Bound bound = Bound::compute;
    double tokens = 0;
};

OpCase matmul_case(DType compute, const Product& p) {
    const double scale = 1 / std::sqrt(static_cast<double>(p.k));
    const DType result = p.fp32_result ? DType::f32 : compute;
    CaseTensor c{"c", result, p.accumulate ? Role::in_out : Role::output, {p.m, p.n}};
    if (p.accumulate) c.floats = [=] { return normal_values(p.m * p.n, 1); };
    CaseTensor a{"a", compute, Role::input, p.transpose_a ? std::vector{p.k, p.m} : std::vector{p.m, p.k}};
    a.floats = [=] { return normal_values(p.m * p.k, 2); };
    CaseTensor b{"b", compute, Role::input, p.transpose_b ? std::vector{p.n, p.k} : std::vector{p.k, p.n}};
    b.floats = [=] { return normal_values(p.n * p.k, 3, scale); };
    return {.op = "matmul",
            .shape = p.shape,
            .tensors = {c, a, b},
            .run =
                [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
                    ops.matmul(stream, t["c"], t["a"], p.transpose_a, t["b"], p.transpose_b, p.accumulate);
                },
            .bound = p.bound,
            .flops = 2.0 * static_cast<double>(p.m * p.n) * static_cast<double>(p.k),
            .bytes = static_cast<double>(bytes_of(compute) * (p.m * p.k + p.n * p.k) +
                                         (p.accumulate ? 2 : 1) * bytes_of(result) * p.m * p.n),
            .items = p.tokens,
            .item = p.tokens > 0 ? "tokens" : ""};
}

// Every combination of transposes: into the compute type, into fp32, added to fp32.
std::vector<Product> small_products() {
    std::vector<Product> products;
    for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {5, 3, 7}, {33, 65, 17}, {64, 48, 128}, {1, 50, 70}, {3, 7, 300}})
        for (int transposes = 0; transposes < 4; ++transposes) {
            const bool ta = transposes & 1, tb = transposes & 2;
            const std::string shape = fmt::format("{}x{}x{}-{}{}", m, n, k, ta ? 't' : 'n', tb ? 't' : 'n');
            Product product{.shape = shape, .m = m, .n = n, .k = k, .transpose_a = ta, .transpose_b = tb};
            products.push_back(product);
            product.shape = shape + "-fp32";
            product.fp32_result = true;
            products.push_back(product);
            product.shape = shape + "-added";
            product.accumulate = true;
            products.push_back(product);
        }
    return products;
}

struct Linear {
    const char* name;
    int64_t out, in;
};

std::vector<Product> layer_products(int64_t tokens, std::initializer_list<Linear> layers) {
    std::vector<Product> products;
    for (const auto& [name, out, in] : layers) {
        const auto count = static_cast<double>(tokens);
        products.push_back({.shape = name, .m = tokens, .n = out, .k = in, .transpose_b = true, .tokens = count});
        products.push_back({.shape = fmt::format("{}-dx", name), .m = tokens, .n = in, .k = out, .tokens = count});
        products.push_back({.shape = fmt::format("{}-dw", name),
                            .m = out,
                            .n = in,
                            .k = tokens,
                            .transpose_a = true,
                            .accumulate = true,
                            .fp32_result = true,
                            .tokens = count});
    }
    return products;
}

// A linear layer of one token: nothing but reading the weights.
Product token_product(int64_t out, int64_t in) {
    return {.shape = "one-token", .m = 1, .n = out, .k = in, .transpose_b = true, .bound = Bound::memory, .tokens = 1};
}

std::vector<Product> products(CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small:
            return small_products();
        case CaseSizes::model: {
            std::vector<Product> all = layer_products(16 * 2048, {{"qkv", 3 * 2048, 2048},
                                                                  {"attention-out", 2048, 2048},
                                                                  {"gate-up", 2 * 8192, 2048},
                                                                  {"down", 2048, 8192},
                                                                  {"head", 32000, 2048}});
            all.push_back(token_product(2 * 8192, 2048));
            return all;
        }
        case CaseSizes::laptop: {
            std::vector<Product> all = layer_products(8 * 256, {{"qkv", 3 * 384, 384},
                                                                {"attention-out", 384, 384},
                                                                {"gate-up", 2 * 1024, 384},
                                                                {"down", 384, 1024},
                                                                {"head", 4096, 384}});
            all.push_back(token_product(32000, 768));  // 98 MB, which no cache holds
            return all;
        }
    }
    return {};
}

}  // namespace

std::vector<OpCase> matmul_cases(DType compute, CaseSizes sizes) {
    std::vector<OpCase> cases;
    for (const Product& p : products(sizes)) cases.push_back(matmul_case(compute, p));
    return cases;
}

}  // namespace templar
