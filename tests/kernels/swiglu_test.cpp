#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using namespace templar::test;

namespace {

Doubles swiglu(const Doubles& gate_up, int64_t rows, int64_t features) {
    Doubles act;
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t f = 0; f < features; ++f) {
            const double gate = gate_up[i * 2 * features + f], up = gate_up[i * 2 * features + features + f];
            act.push_back(gate / (1 + std::exp(-gate)) * up);
        }
    return act;
}

}  // namespace

TEST_CASE("swiglu agrees with its formula over the whole range of the exponential") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        Values gate_up;
        constexpr int64_t features = 4001;
        for (int64_t f = 0; f < features; ++f)
            gate_up.push_back(static_cast<float>(f - 2000) / 25.0f);  // -80 … 80
        gate_up.resize(2 * features, 1.0f);
        const auto run = [&](Stream& stream) {
            Values act(features, 1e30f);
            ops->swiglu_forward(stream, Tensor(act.data(), {1, features}),
                                Tensor(gate_up.data(), {1, 2 * features}));
            return act;
        };
        check_close(on_all_threads(run), swiglu(to_double(gate_up), 1, features), 5e-7, 1e-37);

        gate_up[0] = -1000.0f;
        gate_up[1] = 1000.0f;
        gate_up[2] = NAN;
        Stream stream;
        const Values act = run(stream);
        CHECK(std::abs(act[0]) < 1e-30f);
        CHECK(act[1] == 1000.0f);
        CHECK(std::isnan(act[2]));
    }
}

TEST_CASE("the backward of swiglu agrees with finite differences, also in place") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const auto& [rows, features] : {std::pair<int64_t, int64_t>{1, 1}, {3, 19}, {2, 64}}) {
            CAPTURE(features);
            const Values gate_up = normal(rows * 2 * features, 1, 2.0), dact = normal(rows * features, 2);
            const auto run = [&](Stream& stream, bool in_place) {
                Values gradient(gate_up.size(), 1e30f), held = gate_up;
                const Tensor in(held.data(), {rows, 2 * features});
                ops->swiglu_backward(stream, in_place ? in : Tensor(gradient.data(), {rows, 2 * features}),
                                     Tensor(dact.data(), {rows, features}), in);
                return in_place ? held : gradient;
            };
            const Values apart = on_all_threads([&](Stream& stream) { return run(stream, false); });
            check_close(
                apart,
                numeric_gradient(
                    [&](const Doubles& at) { return dot(swiglu(at, rows, features), to_double(dact)); },
                    to_double(gate_up)),
                1e-6, 1e-6);
            CHECK(on_all_threads([&](Stream& stream) { return run(stream, true); }) == apart);
        }
    }
}
