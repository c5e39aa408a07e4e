#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using namespace templar::test;

namespace {

constexpr double eps = 1e-5;

Doubles rmsnorm(const Doubles& x, const Doubles& weight) {
    const size_t channels = weight.size();
    Doubles y(x.size());
    for (size_t row = 0; row < x.size(); row += channels) {
        double squares = 0;
        for (size_t c = 0; c < channels; ++c) squares += x[row + c] * x[row + c];
        const double rstd = 1 / std::sqrt(squares / static_cast<double>(channels) + eps);
        for (size_t c = 0; c < channels; ++c) y[row + c] = x[row + c] * weight[c] * rstd;
    }
    return y;
}

Values joined(Values a, const Values& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

}  // namespace

TEST_CASE("rmsnorm agrees with its formula") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const auto& [rows, channels] :
             {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {5, 64}, {130, 100}}) {
            CAPTURE(channels);
            const Values a = normal(rows * channels, 1), b = normal(rows * channels, 2, 3.0),
                         weight = normal(channels, 3);
            const Tensor w(weight.data(), {channels});

            const Values plain = on_all_threads([&](Stream& stream) {
                Values y(rows * channels, 1e30f), rstd(rows, 1e30f);
                ops->rmsnorm_forward(stream, Tensor(y.data(), {rows, channels}), Tensor(rstd.data(), {rows}),
                                     Tensor(a.data(), {rows, channels}), w, static_cast<float>(eps));
                return y;
            });
            check_close(plain, rmsnorm(to_double(a), to_double(weight)), 1e-6, 1e-6);

            Doubles sum = to_double(a);
            for (size_t i = 0; i < sum.size(); ++i) sum[i] += b[i];
            const Values fused = on_all_threads([&](Stream& stream) {
                Values total(rows * channels, 1e30f), y(rows * channels, 1e30f), rstd(rows, 1e30f);
                ops->add_rmsnorm_forward(stream, Tensor(total.data(), {rows, channels}),
                                         Tensor(y.data(), {rows, channels}), Tensor(rstd.data(), {rows}),
                                         Tensor(a.data(), {rows, channels}),
                                         Tensor(b.data(), {rows, channels}), w, static_cast<float>(eps));
                return joined(total, y);
            });
            Doubles want = sum;
            const Doubles normed = rmsnorm(sum, to_double(weight));
            want.insert(want.end(), normed.begin(), normed.end());
            check_close(fused, want, 1e-6, 1e-6);
        }
    }
}

TEST_CASE("the backward of rmsnorm agrees with finite differences") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const auto& [rows, channels] : {std::pair<int64_t, int64_t>{1, 3}, {2, 33}, {67, 9}}) {
            CAPTURE(channels);
            const Values x = normal(rows * channels, 1), weight = normal(channels, 2),
                         dy = normal(rows * channels, 3);
            const Values residual = normal(rows * channels, 4), before = normal(channels, 5);
            Doubles dx = numeric_gradient(
                [&](const Doubles& at) { return dot(rmsnorm(at, to_double(weight)), to_double(dy)); },
                to_double(x));
            Doubles dweight = numeric_gradient(
                [&](const Doubles& at) { return dot(rmsnorm(to_double(x), at), to_double(dy)); },
                to_double(weight));
            for (size_t c = 0; c < dweight.size(); ++c) dweight[c] += before[c];  // accumulates

            const auto run = [&](Stream& stream, bool with_residual, bool in_place) {
                const Tensor none;
                Values y(rows * channels), rstd(rows), out(rows * channels, 1e30f), dw = before,
                                                                                    held = residual;
                const Tensor in(x.data(), {rows, channels}), w(weight.data(), {channels}),
                    scale(rstd.data(), {rows});
                ops->rmsnorm_forward(stream, Tensor(y.data(), {rows, channels}), scale, in, w,
                                     static_cast<float>(eps));
                const Tensor add(held.data(), {rows, channels});
                ops->rmsnorm_backward(stream, in_place ? add : Tensor(out.data(), {rows, channels}),
                                      Tensor(dw.data(), {channels}), Tensor(dy.data(), {rows, channels}),
                                      with_residual ? add : none, in, w, scale);
                return joined(in_place ? held : out, dw);
            };
            Doubles want = dx;
            want.insert(want.end(), dweight.begin(), dweight.end());
            check_close(on_all_threads([&](Stream& stream) { return run(stream, false, false); }), want, 2e-5,
                        1e-5);

            for (size_t i = 0; i < dx.size(); ++i) want[i] += residual[i];
            const Values apart = on_all_threads([&](Stream& stream) { return run(stream, true, false); });
            check_close(apart, want, 2e-5, 1e-5);
            CHECK(on_all_threads([&](Stream& stream) { return run(stream, true, true); }) == apart);
        }
    }
}
