#include "kernels/bf16.h"
#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <bit>
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
                    ops->adamw(stream, Tensor(params.data(), {count}), {}, Tensor(first.data(), {count}),
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
        ops->adamw(stream, Tensor(params.data(), {2}), {}, Tensor(m.data(), {2}), Tensor(v.data(), {2}),
                   Tensor(g.data(), {2}), step);
        CHECK(params == Values{2.0f, -3.0f});
    }
}

TEST_CASE("bf16 weights are the parameters rounded to nearest, by adamw and by round_weights") {
    constexpr int64_t count = 5001;
    for (const auto& [isa, ops] : tables()) {
        Values params = normal(count, 1), m(count), v(count);
        const Values g = normal(count, 2);
        std::vector<bf16> weights(count), again(count);
        Stream stream{2};
        const AdamWStep step{.lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f,
                             .bias1 = 0.1f, .bias2 = 0.05f, .grad_scale = 1.0f};
        ops->adamw(stream, Tensor(params.data(), {count}), Tensor(weights.data(), DType::bf16, {count}),
                   Tensor(m.data(), {count}), Tensor(v.data(), {count}), Tensor(g.data(), {count}), step);
        ops->round_weights(stream, Tensor(again.data(), DType::bf16, {count}), Tensor(params.data(), {count}));
        for (int64_t i = 0; i < count; ++i) {
            REQUIRE(weights[i].bits == to_bf16(params[i]).bits);
            REQUIRE(again[i].bits == weights[i].bits);
        }
    }
}

TEST_CASE("bf16 rounds to nearest, ties to even") {
    const std::pair<uint32_t, uint16_t> cases[] = {
        {0x3f800000, 0x3f80},  // 1
        {0x3f808000, 0x3f80},  // half way, lower neighbour even: down
        {0x3f818000, 0x3f82},  // half way, lower neighbour odd: up
        {0x3f807fff, 0x3f80}, {0x3f808001, 0x3f81}, {0xbf818000, 0xbf82},
        {0x7f7fffff, 0x7f80},  // the largest float rounds to infinity
        {0x7f800000, 0x7f80}, {0x00000001, 0x0000}, {0x80000000, 0x8000},
        {0x7f800001, 0x7fff},  // NaN does not become infinity
    };
    for (const auto& [input, expected] : cases) CHECK(to_bf16(std::bit_cast<float>(input)).bits == expected);
    CHECK(to_float(bf16{0x4049}) == 3.140625f);
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
