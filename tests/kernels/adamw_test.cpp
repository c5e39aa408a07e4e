#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using namespace templar::test;

TEST_CASE("AdamW agrees with its formula over several steps") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const int64_t count : {1, 19, 10000}) {
            CAPTURE(count);
            const Values start = normal(count, 1);
            Doubles p = to_double(start), m(count, 0.0), v(count, 0.0);
            constexpr double lr = 1e-2, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1, scale = 0.5;
            for (int t = 1; t <= 3; ++t) {
                const Doubles g = to_double(normal(count, 10 + t));
                for (int64_t i = 0; i < count; ++i) {
                    m[i] = beta1 * m[i] + (1 - beta1) * g[i] * scale;
                    v[i] = beta2 * v[i] + (1 - beta2) * g[i] * scale * g[i] * scale;
                    const double m_hat = m[i] / (1 - std::pow(beta1, t)),
                                 v_hat = v[i] / (1 - std::pow(beta2, t));
                    p[i] = p[i] * (1 - lr * decay) - lr * m_hat / (std::sqrt(v_hat) + eps);
                }
            }
            const Values got = on_all_threads([&](Stream& stream) {
                Values params = start, first(count, 0.0f), second(count, 0.0f);
                for (int t = 1; t <= 3; ++t) {
                    const Values g = normal(count, 10 + t);
                    const AdamWStep step{.lr = lr,
                                         .beta1 = beta1,
                                         .beta2 = beta2,
                                         .eps = eps,
                                         .weight_decay = decay,
                                         .bias1 = static_cast<float>(1 - std::pow(beta1, t)),
                                         .bias2 = static_cast<float>(1 - std::pow(beta2, t)),
                                         .grad_scale = scale};
                    ops->adamw(stream, Tensor(params.data(), {count}), Tensor(first.data(), {count}),
                               Tensor(second.data(), {count}), Tensor(g.data(), {count}), step);
                }
                params.insert(params.end(), first.begin(), first.end());
                params.insert(params.end(), second.begin(), second.end());
                return params;
            });
            Doubles want = p;
            want.insert(want.end(), m.begin(), m.end());
            want.insert(want.end(), v.begin(), v.end());
            check_close(got, want, 1e-6, 1e-7);
        }
    }
}

TEST_CASE("AdamW leaves an untouched parameter alone but for weight decay") {
    for (const auto& [isa, ops] : tables()) {
        Values params{2.0f, -3.0f}, m(2), v(2), g(2);
        Stream stream;
        const AdamWStep step{.lr = 0.1f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .weight_decay = 0.0f,
                             .bias1 = 0.1f,
                             .bias2 = 0.05f,
                             .grad_scale = 1.0f};
        ops->adamw(stream, Tensor(params.data(), {2}), Tensor(m.data(), {2}), Tensor(v.data(), {2}),
                   Tensor(g.data(), {2}), step);
        CHECK(params == Values{2.0f, -3.0f});
    }
}

TEST_CASE("sum_of_squares is a sum in double, the same on any number of threads") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const int64_t count : {0, 1, 15, 4096, 100003}) {
            CAPTURE(count);
            const Values x = normal(count, 1, 1e-3);
            double want = 0;
            for (float value : x) want += static_cast<double>(value) * static_cast<double>(value);
            Stream one{1};
            const double got = ops->sum_of_squares(one, Tensor(x.data(), {count}));
            CHECK(got == doctest::Approx(want).epsilon(1e-13));
            for (int threads : {2, 3, 7}) {
                Stream stream{threads};
                CHECK(ops->sum_of_squares(stream, Tensor(x.data(), {count})) == got);
            }
        }
        const Values huge(3, 3e38f);  // the square is no float
        Stream stream;
        CHECK(ops->sum_of_squares(stream, Tensor(huge.data(), {3})) == doctest::Approx(2.7e77).epsilon(1e-6));
    }
}
