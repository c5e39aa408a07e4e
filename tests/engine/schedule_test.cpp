#include "engine/optim/schedule.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

using namespace templar;

TEST_CASE("learning rate: warm-up, cosine, floor") {
    const Schedule s;
    CHECK(learning_rate(s, 0) == static_cast<float>(4e-5));
    CHECK(learning_rate(s, 125) == static_cast<float>(2.2e-4));
    CHECK(learning_rate(s, 250) == static_cast<float>(4e-4));
    CHECK(learning_rate(s, 250 + 10000) == static_cast<float>(2.2e-4));
    CHECK(learning_rate(s, 250 + 20000) == static_cast<float>(4e-5));
    CHECK(learning_rate(s, int64_t{1} << 60) == static_cast<float>(4e-5));
    for (int64_t step = 0; step < 250; ++step) REQUIRE(learning_rate(s, step) < learning_rate(s, step + 1));
    for (int64_t step = 250; step < 20250; ++step) {
        REQUIRE(learning_rate(s, step) >= learning_rate(s, step + 1));
        const double angle = std::numbers::pi * static_cast<double>(step - 250) / 20000;
        REQUIRE(learning_rate(s, step) ==
                doctest::Approx(4e-5 + 3.6e-4 * 0.5 * (1 + std::cos(angle))).epsilon(1e-6));
    }
}

TEST_CASE("learning rate has the pinned bits") {
    const Schedule s;
    CHECK(std::bit_cast<uint32_t>(learning_rate(s, 1)) == 0x382dcfdcu);
    CHECK(std::bit_cast<uint32_t>(learning_rate(s, 249)) == 0x39d0f5d1u);
    CHECK(std::bit_cast<uint32_t>(learning_rate(s, 251)) == 0x39d1b717u);
    CHECK(std::bit_cast<uint32_t>(learning_rate(s, 5000)) == 0x39b8a48au);
    CHECK(std::bit_cast<uint32_t>(learning_rate(s, 12345)) == 0x3929b08bu);
    CHECK(std::bit_cast<uint32_t>(learning_rate(s, 20249)) == 0x3827c5adu);
}

TEST_CASE("learning rate without warm-up or without cosine") {
    CHECK(learning_rate({1.0, 0.25, 0, 4}, 0) == 1.0f);
    CHECK(learning_rate({1.0, 0.25, 0, 4}, 2) == 0.625f);
    CHECK(learning_rate({1.0, 0.25, 0, 4}, 4) == 0.25f);
    CHECK(learning_rate({1.0, 0.25, 4, 0}, 3) == 0.8125f);
    CHECK(learning_rate({1.0, 0.25, 4, 0}, 4) == 0.25f);
    CHECK(learning_rate({1.0, 1.0, 0, 0}, 7) == 1.0f);
}

TEST_CASE("a step's rate: warm-up from its own start, constant, cosine, and wsd's late linear decline") {
    TrainSchedule s{.decline = Decline::constant, .peak = 1.0, .start_share = 0.0, .warmup_steps = 4};
    CHECK(learning_rate(s, 0) == 0.0f);
    CHECK(learning_rate(s, 3) == 0.75f);
    for (const int64_t step : {4, 5, 1000000}) CHECK(learning_rate(s, step) == 1.0f);
    s.warmup_steps = 0;
    CHECK(learning_rate(s, 0) == 1.0f);

    s = {.decline = Decline::wsd, .peak = 2.0, .start_share = 0.5, .floor_share = 0.25, .warmup_steps = 2, .decay_begin = 10,
         .decay_steps = 6};
    CHECK(learning_rate(s, 0) == 1.0f);
    CHECK(learning_rate(s, 1) == 1.5f);
    for (int64_t step = 2; step <= 10; ++step) CHECK(learning_rate(s, step) == 2.0f);
    CHECK(learning_rate(s, 12) == 1.5f);
    CHECK(learning_rate(s, 14) == 1.0f);
    for (const int64_t step : {16, 17, 1000}) CHECK(learning_rate(s, step) == 0.5f);

    s.decline = Decline::cosine;
    CHECK(learning_rate(s, 9) == 2.0f);
    CHECK(learning_rate(s, 13) == 1.25f);
    CHECK(learning_rate(s, 16) == 0.5f);
}

TEST_CASE("train's cosine from its floor is the swarm's schedule, to the bit") {
    const Schedule swarm;
    const TrainSchedule train{.peak = 4e-4, .warmup_steps = 250, .decay_begin = 250, .decay_steps = 20000};
    for (int64_t step = 0; step < 21000; ++step) REQUIRE(learning_rate(train, step) == learning_rate(swarm, step));
}
