// The `ops` section of llama.json: each operation alone, on every instruction set.
#include "kernels/ops.h"
#include "tests/vectors/generator.h"
#include "tests/vectors/vectors.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <map>

using namespace templar;
using namespace templar::vectors;
using nlohmann::json;

namespace {

// One case on one table. Inputs are generated, results compared with the case's values.
struct Case {
    const Ops& ops;
    const json& values;
    double limit;  // relative to an output's largest magnitude

    std::vector<float> input(const char* name) const {
        std::vector<float> x = generate(values.at(name));
        REQUIRE(largest_error(x, values.at(name).at("values").get<std::vector<double>>(), 1.0) == 0.0);
        return x;
    }
    int64_t extent(const char* name, size_t dimension) const {
        return values.at(name).at("shape").at(dimension).get<int64_t>();
    }
    std::vector<int32_t> integers(const char* name) const {
        return values.at(name).get<std::vector<int32_t>>();
    }

    void check(const char* name, std::span<const float> found, const json& expected) const {
        INFO(name);
        const auto exact =
            (expected.is_object() ? expected.at("values") : expected).get<std::vector<double>>();
        double largest = 0;
        for (double value : exact) largest = std::max(largest, std::abs(value));
        CHECK(largest_error(found, exact, largest > 0 ? largest : 1.0) <= limit);
    }
    void check(const char* name, std::span<const float> found) const { check(name, found, values.at(name)); }
};

std::vector<float> zeros(int64_t n) {
    return std::vector<float>(static_cast<size_t>(n));
}

void check_rmsnorm(const Case& c, Stream& stream) {
    const int64_t N = c.extent("x", 0), C = c.extent("x", 1);
    auto x = c.input("x"), weight = c.input("weight"), dy = c.input("dy");
    auto y = zeros(N * C), rstd = zeros(N), dx = zeros(N * C), dweight = zeros(C);
    const Tensor xs(x.data(), {N, C}), w(weight.data(), {C}), r(rstd.data(), {N});
    c.ops.rmsnorm_forward(stream, Tensor(y.data(), {N, C}), r, xs, w, c.values.at("eps").get<float>());
    c.ops.rmsnorm_backward(stream, Tensor(dx.data(), {N, C}), Tensor(dweight.data(), {C}),
                           Tensor(dy.data(), {N, C}), {}, xs, w, r);
    c.check("y", y), c.check("dx", dx), c.check("dweight", dweight);
}

void check_rope(const Case& c, Stream& stream) {
    const int64_t B = c.extent("x", 0), T = c.extent("x", 1), H = c.extent("x", 2), D = c.extent("x", 3);
    auto y = c.input("x"), dx = c.input("dy");
    std::vector<int32_t> positions;
    for (int64_t b = 0; b < B; ++b)
        for (int32_t position : c.integers("positions")) positions.push_back(position);
    const int64_t P = 1 + *std::max_element(positions.begin(), positions.end());
    auto table = zeros(P * D);
    const Tensor t(table.data(), {P, D / 2, 2}), where(positions.data(), {B * T});
    c.ops.rope_table(stream, t, c.values.at("theta").get<float>());
    c.ops.rope_forward(stream, Tensor(y.data(), {B, T, H, D}), t, where, H);
    c.ops.rope_backward(stream, Tensor(dx.data(), {B, T, H, D}), t, where, H);
    c.check("y", y), c.check("dx", dx);
}

void check_swiglu(const Case& c, Stream& stream) {
    const int64_t N = c.extent("gate", 0), F = c.extent("gate", 1);
    auto gate = c.input("gate"), up = c.input("up"), dy = c.input("dy");
    auto gate_up = zeros(N * 2 * F), act = zeros(N * F), dgate = zeros(N * F), dup = zeros(N * F);
    for (int64_t n = 0; n < N; ++n) {
        std::copy_n(&gate[n * F], F, &gate_up[n * 2 * F]);
        std::copy_n(&up[n * F], F, &gate_up[n * 2 * F + F]);
    }
    const Tensor both(gate_up.data(), {N, 2 * F});
    c.ops.swiglu_forward(stream, Tensor(act.data(), {N, F}), both);
    c.ops.swiglu_backward(stream, both, Tensor(dy.data(), {N, F}), both);
    for (int64_t n = 0; n < N; ++n) {
        std::copy_n(&gate_up[n * 2 * F], F, &dgate[n * F]);
        std::copy_n(&gate_up[n * 2 * F + F], F, &dup[n * F]);
    }
    c.check("y", act), c.check("dgate", dgate), c.check("dup", dup);
}

void check_attention(const Case& c, Stream& stream) {
    const int64_t B = c.extent("q", 0), T = c.extent("q", 1), H = c.extent("q", 2), G = c.extent("k", 2),
                  D = c.extent("q", 3);
    const int64_t S = H + 2 * G;
    auto q = c.input("q"), k = c.input("k"), v = c.input("v"), dy = c.input("dy");
    auto qkv = zeros(B * T * S * D), dqkv = qkv, out = zeros(B * T * H * D), lse = zeros(B * H * T),
         delta = lse;
    for (int64_t n = 0; n < B * T; ++n) {
        std::copy_n(&q[n * H * D], H * D, &qkv[n * S * D]);
        std::copy_n(&k[n * G * D], G * D, &qkv[n * S * D + H * D]);
        std::copy_n(&v[n * G * D], G * D, &qkv[n * S * D + (H + G) * D]);
    }
    const Tensor in(qkv.data(), {B, T, S, D}), y(out.data(), {B, T, H, D}), l(lse.data(), {B, H, T});
    c.ops.attention_forward(stream, y, l, in);
    c.ops.attention_backward(stream, Tensor(dqkv.data(), {B, T, S, D}), Tensor(delta.data(), {B, H, T}),
                             Tensor(dy.data(), {B, T, H, D}), y, l, in);
    for (int64_t n = 0; n < B * T; ++n) {
        std::copy_n(&dqkv[n * S * D], H * D, &q[n * H * D]);
        std::copy_n(&dqkv[n * S * D + H * D], G * D, &k[n * G * D]);
        std::copy_n(&dqkv[n * S * D + (H + G) * D], G * D, &v[n * G * D]);
    }
    c.check("y", out), c.check("dq", q), c.check("dk", k), c.check("dv", v);
}

void check_cross_entropy(const Case& c, Stream& stream) {
    const int64_t N = c.extent("logits", 0), V = c.extent("logits", 1);
    auto logits = c.input("logits");
    auto labels = c.integers("labels");
    auto losses = zeros(N), fused_losses = zeros(N);
    const Tensor x(logits.data(), {N, V}), y(labels.data(), {N});
    c.ops.cross_entropy_forward(stream, Tensor(losses.data(), {N}), x, y);
    c.ops.cross_entropy_fused(stream, Tensor(fused_losses.data(), {N}), x, y,
                              1.0f / c.values.at("counted").get<float>());
    c.check("token_losses", losses), c.check("token_losses", fused_losses), c.check("dlogits", logits);
}

void check_embedding(const Case& c, Stream& stream) {
    const int64_t V = c.extent("weight", 0), C = c.extent("weight", 1), N = c.extent("y", 0);
    auto weight = c.input("weight"), dy = c.input("dy");
    auto ids = c.integers("ids");
    auto y = zeros(N * C), dweight = zeros(V * C);
    const Tensor where(ids.data(), {N});
    c.ops.embedding_forward(stream, Tensor(y.data(), {N, C}), Tensor(weight.data(), {V, C}), where);
    c.ops.embedding_backward(stream, Tensor(dweight.data(), {V, C}), Tensor(dy.data(), {N, C}), where);
    c.check("y", y), c.check("dweight", dweight);
}

void check_linear(const Case& c, Stream& stream) {
    const int64_t N = c.extent("x", 0), in = c.extent("x", 1), out = c.extent("weight", 0);
    auto x = c.input("x"), weight = c.input("weight"), dy = c.input("dy");
    auto y = zeros(N * out), dx = zeros(N * in), dweight = zeros(out * in);
    const Tensor xs(x.data(), {N, in}), w(weight.data(), {out, in}), g(dy.data(), {N, out});
    c.ops.matmul(stream, Tensor(y.data(), {N, out}), xs, false, w, true, false);
    c.ops.matmul(stream, Tensor(dx.data(), {N, in}), g, false, w, false, false);
    c.ops.matmul(stream, Tensor(dweight.data(), {out, in}), g, true, xs, false, true);
    c.check("y", y), c.check("dx", dx), c.check("dweight", dweight);
}

void check_adamw(const Case& c, Stream& stream) {
    const json& optimizer = c.values.at("optimizer");
    auto param = c.input("param");
    const int64_t n = static_cast<int64_t>(param.size());
    auto m = zeros(n), v = zeros(n);
    double beta1_power = 1, beta2_power = 1;
    for (const json& step : c.values.at("steps")) {
        auto grad = generate(step.at("grad"));
        const Tensor g(grad.data(), {n});
        CHECK(std::sqrt(c.ops.sum_of_squares(stream, g)) ==
              doctest::Approx(step.at("grad_norm").get<double>()).epsilon(1e-6));
        const double beta1 = optimizer.at("beta1"), beta2 = optimizer.at("beta2");
        beta1_power *= beta1, beta2_power *= beta2;
        c.ops.adamw(stream, Tensor(param.data(), {n}), {}, Tensor(m.data(), {n}), Tensor(v.data(), {n}), g,
                    {.lr = step.at("lr").get<float>(),
                     .beta1 = static_cast<float>(beta1),
                     .beta2 = static_cast<float>(beta2),
                     .eps = optimizer.at("eps").get<float>(),
                     .weight_decay = optimizer.at("weight_decay").get<float>(),
                     .bias1 = static_cast<float>(1 - beta1_power),
                     .bias2 = static_cast<float>(1 - beta2_power),
                     .grad_scale = step.at("clip_factor").get<float>()});
        c.check("param", param, step.at("param")), c.check("m", m, step.at("m")),
            c.check("v", v, step.at("v"));
    }
}

}  // namespace

TEST_CASE("each operation of llama.json gives the vectors' values on every instruction set") {
    const std::map<std::string, void (*)(const Case&, Stream&)> checks = {
        {"rmsnorm", check_rmsnorm},     {"rope", check_rope},
        {"swiglu", check_swiglu},       {"attention", check_attention},
        {"embedding", check_embedding}, {"cross_entropy", check_cross_entropy},
        {"linear", check_linear},       {"adamw", check_adamw}};
    for_each_file("llama", [&](const json& file) {
        const json& tolerance = file.at("tolerance").at("float32").at("ops");
        for (const auto& [op, cases] : file.at("ops").items()) {
            INFO(op);
            REQUIRE(checks.contains(op));
            const double base = tolerance.value(op, tolerance.at("default").get<double>());
            for (Device* device : runnable_devices()) {
                INFO(device->description());
                for (size_t i = 0; i < cases.size(); ++i) {
                    INFO("case " << i);
                    Stream stream{2};
                    checks.at(op)({device->ops(), cases[i], base * cases[i].at("stretch").get<double>()}, stream);
                }
            }
        }
    });
}
