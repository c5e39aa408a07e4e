#include "engine/optim/adamw.h"

#include "base/error.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace templar;
using test::cpu, test::flat, test::values;

namespace {
// A matrix of 2 x 3 and a vector of 2.
std::vector<Parameter> two_tensors() {
    return {{"matrix", {2, 3}, 0, 6}, {"norm", {2}, 6, 2}};
}
}  // namespace

TEST_CASE(
    "AdamW's first step moves every parameter by the rate against its gradient's sign, and decays matrices "
    "only") {
    const std::vector<float> start = {1, -2, 3, -4, 5, -6, 1, 1}, grads = {1e-3f, -2, 3, 4, -5, 6, -7, 8};
    std::vector<float> params = start;
    AdamW optimizer(cpu(), two_tensors(), {.weight_decay = 0.5f});
    const double norm = optimizer.step(flat(params), {}, flat(grads), 0.01f);
    double squares = 0;
    for (float g : grads) squares += double(g) * g;
    CHECK(norm == doctest::Approx(std::sqrt(squares)));
    for (size_t i = 0; i < params.size(); ++i) {
        const double kept = i < 6 ? start[i] * (1 - 0.01 * 0.5) : start[i];
        CHECK(params[i] == doctest::Approx(kept - 0.01 * (grads[i] > 0 ? 1 : -1)).epsilon(1e-5));
    }
    CHECK(optimizer.steps() == 1);
}

TEST_CASE("AdamW agrees with its formula in double over several clipped steps") {
    const AdamWOptions options{
        .beta1 = 0.8f, .beta2 = 0.9f, .eps = 1e-6f, .weight_decay = 0.1f, .clip = 0.5f, .decay_1d = true};
    AdamW optimizer(cpu(2), two_tensors(), options);
    std::vector<float> params(8);
    std::vector<double> p(8), m(8), v(8);
    for (size_t i = 0; i < 8; ++i) p[i] = params[i] = 0.5f - 0.2f * static_cast<float>(i);
    for (int t = 1; t <= 4; ++t) {
        std::vector<float> grads(8);
        double squares = 0;
        for (size_t i = 0; i < 8; ++i) {
            grads[i] = std::sin(static_cast<float>(t * 8 + static_cast<int>(i)));
            squares += 0.25 * grads[i] * grads[i];
        }
        const double clip = std::min(1.0, 0.5 / (std::sqrt(squares) + 1e-6));
        CHECK(optimizer.step(flat(params), {}, flat(grads), 0.02f, 0.5f) == doctest::Approx(std::sqrt(squares)));
        for (size_t i = 0; i < 8; ++i) {
            const double g = 0.5 * grads[i] * clip;
            m[i] = 0.8 * m[i] + 0.2 * g;
            v[i] = 0.9 * v[i] + 0.1 * g * g;
            p[i] = p[i] * (1 - 0.02 * 0.1) -
                   0.02 * (m[i] / (1 - std::pow(0.8, t))) / (std::sqrt(v[i] / (1 - std::pow(0.9, t))) + 1e-6);
            CHECK(params[i] == doctest::Approx(p[i]).epsilon(1e-5));
        }
    }
}

TEST_CASE("AdamW resumes from its moments and step count, bit for bit") {
    const std::vector<float> grads = {1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<float> straight(8, 1.0f), resumed(8, 1.0f);
    AdamW one(cpu(), two_tensors(), {}), before(cpu(), two_tensors(), {}),
        after(cpu(), two_tensors(), {});
    for (int t = 0; t < 3; ++t) one.step(flat(straight), {}, flat(grads), 0.01f);
    before.step(flat(resumed), {}, flat(grads), 0.01f);
    after.m().upload(values(before.m())), after.v().upload(values(before.v())), after.steps() = before.steps();
    for (int t = 0; t < 2; ++t) after.step(flat(resumed), {}, flat(grads), 0.01f);
    CHECK(resumed == straight);
}

TEST_CASE("AdamW refuses gradients that are not numbers, and wrong lengths, without changing anything") {
    AdamW optimizer(cpu(), two_tensors(), {});
    std::vector<float> params(8, 1.0f), grads(8, 1.0f);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        grads[3] = bad;
        CHECK_THROWS_WITH_AS(optimizer.step(flat(params), {}, flat(grads), 0.01f),
                             doctest::Contains("lower the learning rate"), Error);
    }
    std::vector<float> short_grads(7, 1.0f);
    CHECK_THROWS_AS(optimizer.step(flat(params), {}, flat(short_grads), 0.01f), Error);
    CHECK(params == std::vector<float>(8, 1.0f));
    CHECK(optimizer.m().download() == std::vector<float>(8, 0.0f));
    CHECK(optimizer.steps() == 0);
}
