#include "engine/optim/sgd.h"

#include "base/error.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace templar;
using namespace templar::test;

namespace {

std::vector<Parameter> two_tensors() {
    return {{"matrix", {2, 3}, 0, 6}, {"norm", {2}, 6, 2}};
}

}  // namespace

TEST_CASE("SGD clips, then adds the decay of the chosen tensors, then the momentum") {
    for (const bool decay_1d : {false, true}) {
        Sgd optimizer(cpu(), two_tensors(),
                      {.momentum = 0.5f, .weight_decay = 0.25f, .clip = 1.0f, .decay_1d = decay_1d});
        std::vector<float> params(8, 1.0f), grads(8, 2.0f);
        double p[2] = {1, 1}, m[2] = {0, 0};  // a matrix's value, a norm's
        for (int t = 0; t < 3; ++t) {
            const double norm = optimizer.step(flat(params), {}, flat(grads), 0.125f, 0.5f);
            CHECK(norm == doctest::Approx(std::sqrt(8.0)));
            for (int i = 0; i < 2; ++i) {
                m[i] = 0.5 * m[i] + 1 / (norm + 1e-6) + (i == 0 || decay_1d ? 0.25 : 0) * p[i];
                p[i] -= 0.125 * m[i];
            }
            CHECK(params[0] == doctest::Approx(p[0]).epsilon(1e-6));
            CHECK(params[7] == doctest::Approx(p[1]).epsilon(1e-6));
        }
        CHECK(optimizer.steps() == 3);
    }
}

TEST_CASE("SGD without momentum keeps no state; with it, its state is what a resumed run needs") {
    CHECK(Sgd(cpu(), two_tensors(), {}).state().empty());
    std::vector<float> params(8, 1.0f), again, grads(8, 0.5f);
    Sgd one(cpu(), two_tensors(), {.momentum = 0.9f}), two(cpu(), two_tensors(), {.momentum = 0.9f});
    one.step(flat(params), {}, flat(grads), 0.1f);
    again = params;
    REQUIRE(one.state().size() == 1);
    two.state()[0]->upload(one.state()[0]->download());
    one.step(flat(params), {}, flat(grads), 0.1f);
    two.step(flat(again), {}, flat(grads), 0.1f);
    CHECK(again == params);
}

TEST_CASE("SGD refuses gradients that are not numbers without changing anything") {
    Sgd optimizer(cpu(), two_tensors(), {.momentum = 0.9f});
    std::vector<float> params(8, 1.0f), grads(8, 1.0f);
    grads[3] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(optimizer.step(flat(params), {}, flat(grads), 0.1f), Error);
    CHECK(params == std::vector<float>(8, 1.0f));
    CHECK(optimizer.steps() == 0);
}
