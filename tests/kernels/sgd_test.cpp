#include "kernels/bf16.h"
#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::test;

TEST_CASE("SGD agrees with its formula over several steps, with and without momentum") {
    constexpr double lr = 1e-2, mu = 0.9, decay = 0.1, scale = 0.5;
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const bool with_momentum : {false, true})
            for (const int64_t count : {1, 19, 10000}) {
                CAPTURE(count);
                const Values start = normal(count, 1);
                Doubles p = to_double(start), m(static_cast<size_t>(count), 0.0);
                for (int t = 1; t <= 3; ++t) {
                    const Doubles g = to_double(normal(count, 10 + t));
                    for (size_t i = 0; i < p.size(); ++i) {
                        m[i] = (with_momentum ? mu * m[i] : 0) + g[i] * scale + decay * p[i];
                        p[i] -= lr * m[i];
                    }
                }
                const Values got = on_all_threads([&](Stream& stream) {
                    Values params = start, momentum(static_cast<size_t>(count), 0.0f);
                    for (int t = 1; t <= 3; ++t) {
                        const Values g = normal(count, 10 + t);
                        ops->sgd(stream, Tensor(params.data(), {count}), {},
                                 with_momentum ? Tensor(momentum.data(), {count}) : Tensor(), Tensor(g.data(), {count}),
                                 {.lr = lr, .momentum = mu, .weight_decay = decay, .grad_scale = scale});
                    }
                    return params;
                });
                check_close(got, p, 1e-6, 1e-7);
            }
    }
}

TEST_CASE("SGD's bf16 weights are the parameters rounded to nearest") {
    constexpr int64_t count = 5001;
    for (const auto& [isa, ops] : tables()) {
        Values params = normal(count, 1);
        const Values g = normal(count, 2);
        std::vector<bf16> weights(count);
        Stream stream{2};
        ops->sgd(stream, Tensor(params.data(), {count}), Tensor(weights.data(), DType::bf16, {count}), {},
                 Tensor(g.data(), {count}), {.lr = 0.1f, .momentum = 0.0f, .weight_decay = 0.1f, .grad_scale = 1.0f});
        for (size_t i = 0; i < count; ++i) REQUIRE(weights[i].bits == to_bf16(params[i]).bits);
    }
}
