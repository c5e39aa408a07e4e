#include "eval/model_weights.h"

#include "engine/model/config.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>

using namespace templar;
using namespace templar::test;

TEST_CASE("weights that are taken over begin on a cache line where there is room, and are held once") {
    std::vector<float> params = arena_of_floats(1000);
    for (size_t i = 0; i < params.size(); ++i) params[i] = static_cast<float>(i) / 7;
    const std::vector<float> want = params;
    const float* const begin = params.data();

    const ModelWeights in_place(cpu(), params);
    CHECK(in_place.tensor().f32() == begin);

    const ModelWeights taken(cpu(), std::move(params));
    CHECK(params.capacity() == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(taken.tensor().data) % 64 == 0);
    CHECK(taken.tensor().f32() - begin < 16);
    CHECK(std::ranges::equal(test::values(taken.tensor()), want));

    std::vector<float> full = want;
    full.shrink_to_fit();
    const float* const there = full.data();
    const ModelWeights left(cpu(), std::move(full));
    CHECK(left.tensor().f32() == there);
    CHECK(std::ranges::equal(test::values(left.tensor()), want));
}
