#include "engine/optim/schedule.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
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
