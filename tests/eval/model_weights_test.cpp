#include "eval/model_weights.h"

#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <cstdint>

using namespace templar;
using namespace templar::test;

TEST_CASE("weights that are taken over begin on a cache line, and are held once") {
    std::vector<float> params;
    for (int i = 0; i < 1000; ++i) params.push_back(static_cast<float>(i) / 7);
    const std::vector<float> want = params;

    const ModelWeights in_place(cpu(), params);
    CHECK(in_place.tensor().f32() == params.data());

    const ModelWeights taken(cpu(), std::move(params));
    CHECK(params.capacity() == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(taken.tensor().data) % 64 == 0);
    const auto values = test::values(taken.tensor());
    CHECK(std::vector(values.begin(), values.end()) == want);
}
