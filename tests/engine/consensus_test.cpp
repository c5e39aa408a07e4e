// From scores to weights, and from the validators' weights to what the swarm pays.
#include "engine/gauntlet/gauntlet.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

using namespace templar;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("weights_from_scores") {
    CHECK(weights_from_scores({}, 2).empty());
    CHECK(weights_from_scores({0, -1, -0.0}, 2) == std::vector<double>{0, 0, 0});
    CHECK(weights_from_scores({2, -7, 2, 0}, 2) == std::vector<double>{0.5, 0, 0.5, 0});
    CHECK(weights_from_scores({3, 1}, 2)[0] == doctest::Approx(0.9).epsilon(1e-15));
    CHECK(weights_from_scores({3, 1}, 1)[0] == doctest::Approx(0.75).epsilon(1e-15));
    CHECK(weights_from_scores({1e-200, 1e-200}, 2) == std::vector<double>{0.5, 0.5});
    CHECK(weights_from_scores({1e200, 1e200}, 2) == std::vector<double>{0.5, 0.5});
    CHECK(weights_from_scores({std::nan(""), 2, inf}, 2) == std::vector<double>{0, 1, 0});
}

TEST_CASE("consensus_weights: a lone validator is followed, unanimity is kept") {
    CHECK(consensus_weights({{2, 1, 1}}, {5}) == std::vector<double>{0.5, 0.25, 0.25});
    CHECK(consensus_weights({{0.5, 0.5}, {0.5, 0.5}, {0.5, 0.5}}, {1, 2, 3}) ==
          std::vector<double>{0.5, 0.5});
    CHECK(consensus_weights({}, {}).empty());
    CHECK(consensus_weights({{0, 0}, {0, 0}}, {1, 1}) == std::vector<double>{0, 0});
    CHECK(consensus_weights({{1, 0}}, {0}) == std::vector<double>{0, 0});  // no stake, no say
}

TEST_CASE("consensus_weights: without a majority an outlier gains nothing") {
    // Two honest validators with 60 % of the stake; the third gives everything to peer 2, its friend.
    const std::vector<double> honest{0.6, 0.4, 0.0}, friendly{0.0, 0.0, 1.0};
    const std::vector<double> result = consensus_weights({honest, honest, friendly}, {30, 30, 40});
    CHECK(result[2] == 0);
    CHECK(result[0] == doctest::Approx(0.6).epsilon(1e-12));
    // Nor by giving more than there is to give, by what is no weight, or by a share just short of the median.
    CHECK(consensus_weights({honest, honest, {0, 0, 1e90}}, {30, 30, 40})[2] == 0);
    CHECK(consensus_weights({honest, honest, {-1, std::nan(""), inf}}, {30, 30, 40})[2] == 0);
    // With kappa of the stake it is heard.
    CHECK(consensus_weights({honest, honest, friendly}, {30, 30, 60})[2] > 0);
    CHECK(consensus_weights({honest, honest, friendly}, {30, 30, 59.999})[2] == 0);
}

TEST_CASE("consensus_weights: what exceeds the median is cut off") {
    // Medians of peer 0: 0.5, of peer 1: 0.5 (validators 0 and 1 of three equal ones give at least that).
    const std::vector<double> result = consensus_weights({{0.5, 0.5}, {0.5, 0.5}, {0.9, 0.1}}, {1, 1, 1});
    CHECK(result[0] == doctest::Approx(1.5 / 2.6).epsilon(1e-12));
    CHECK(result[1] == doctest::Approx(1.1 / 2.6).epsilon(1e-12));
}

TEST_CASE("consensus_weights: large numbers are no louder than small ones") {
    const std::vector<double> result = consensus_weights({{0.2, 0.8}, {900, 100}}, {1, 1});
    CHECK(result[0] == doctest::Approx(0.55).epsilon(1e-12));
    CHECK(result[1] == doctest::Approx(0.45).epsilon(1e-12));
}

TEST_CASE("consensus_weights: ragged tables and negative stake are bugs of the caller") {
    CHECK_THROWS_AS(consensus_weights({{1, 0}, {1}}, {1, 1}), std::invalid_argument);
    CHECK_THROWS_AS(consensus_weights({{1, 0}}, {1, 1}), std::invalid_argument);
    CHECK_THROWS_AS(consensus_weights({{1, 0}}, {-1}), std::invalid_argument);
}
