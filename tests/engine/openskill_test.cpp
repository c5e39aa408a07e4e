#include "engine/gauntlet/openskill.h"

#include "base/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace templar;

namespace {

constexpr TieRule all_rules[] = {TieRule::v610a0, TieRule::v613, TieRule::v620};

std::vector<Rating> seasoned(CounterRng& rng, size_t n) {
    std::vector<Rating> ratings(n);
    for (Rating& rating : ratings) rating = {10 + 30 * rng.uniform(), 1 + 8 * rng.uniform()};
    return ratings;
}

// Distinct, non-zero scores in a random order.
std::vector<double> distinct_scores(CounterRng& rng, size_t n) {
    std::vector<double> scores(n);
    std::iota(scores.begin(), scores.end(), 1.0);
    for (size_t i = n; i > 1; --i) std::swap(scores[i - 1], scores[rng.below(i)]);
    for (double& score : scores) score = (score - 0.5 * static_cast<double>(n) + 0.25) * 1e-3;
    return scores;
}

// The published formulas, term by term, for every pair: no sharing within tied groups.
std::vector<Rating> by_definition(const OpenSkillParams& p, const std::vector<Rating>& before,
                                  const std::vector<double>& scores) {
    const size_t n = before.size();
    std::vector<double> variance(n), place(n);
    double c = 0;
    for (size_t i = 0; i < n; ++i) {
        variance[i] = before[i].sigma * before[i].sigma + p.tau * p.tau;
        c += variance[i] + p.beta * p.beta;
        for (size_t j = 0; j < n; ++j)
            if (scores[j] > scores[i] || (p.ties == TieRule::v610a0 && scores[j] == scores[i] && j < i))
                ++place[i];
    }
    c = std::sqrt(c);
    std::vector<Rating> after(n);
    for (size_t i = 0; i < n; ++i) {
        double omega = 0, delta = 0;
        for (size_t q = 0; q < n; ++q) {
            if (place[q] > place[i]) continue;
            double sum = 0, tied = 0;
            for (size_t j = 0; j < n; ++j) {
                if (place[j] >= place[q]) sum += std::exp(before[j].mu / c);
                if (place[j] == place[q]) ++tied;
            }
            const double x = std::exp(before[i].mu / c) / sum;
            const bool hit = p.ties == TieRule::v620 ? q == i : place[q] == place[i];
            omega += ((hit ? 1 : 0) - x) / tied;
            delta += x * (1 - x) / tied;
        }
        const double shrink = 1 - variance[i] / (c * c) * delta * std::sqrt(variance[i]) / c;
        after[i].mu = before[i].mu + variance[i] / c * omega;
        after[i].sigma = std::sqrt(variance[i] * std::max(shrink, p.kappa));
    }
    return after;
}

}  // namespace

TEST_CASE("rate agrees with the pairwise definition, ties included") {
    CounterRng rng(sha256(as_bytes("openskill pairs")));
    for (TieRule ties : all_rules)
        for (size_t n : {2, 3, 7, 30}) {
            OpenSkillParams params{.ties = ties};
            const std::vector<Rating> before = seasoned(rng, n);
            std::vector<double> scores(n);
            for (double& score : scores) score = 1 + static_cast<double>(rng.below(n / 2 + 1));
            std::vector<Rating> after = before;
            rate(params, after, scores);
            const std::vector<Rating> expected = by_definition(params, before, scores);
            for (size_t i = 0; i < n; ++i) {
                CHECK(after[i].mu == doctest::Approx(expected[i].mu).epsilon(1e-12));
                CHECK(after[i].sigma == doctest::Approx(expected[i].sigma).epsilon(1e-12));
            }
        }
}

TEST_CASE("rate: the best never loses, the last never gains, sigma only grows by tau") {
    CounterRng rng(sha256(as_bytes("openskill order")));
    for (TieRule ties : all_rules)
        for (int trial = 0; trial < 20; ++trial) {
            const size_t n = 2 + rng.below(20);
            const OpenSkillParams params{.ties = ties};
            const std::vector<Rating> before = seasoned(rng, n);
            const std::vector<double> scores = distinct_scores(rng, n);
            std::vector<Rating> after = before;
            rate(params, after, scores);
            const auto best =
                static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
            const auto last =
                static_cast<size_t>(std::min_element(scores.begin(), scores.end()) - scores.begin());
            CHECK(after[best].mu >= before[best].mu);
            CHECK(after[last].mu <= before[last].mu);
            for (size_t i = 0; i < n; ++i) CHECK(after[i].sigma <= std::hypot(before[i].sigma, params.tau));
        }
}

TEST_CASE("rate: with equal sigmas the sum of mu is kept, under v620 with ties too") {
    CounterRng rng(sha256(as_bytes("openskill sum")));
    auto total = [](const std::vector<Rating>& ratings) {
        double sum = 0;
        for (const Rating& rating : ratings) sum += rating.mu;
        return sum;
    };
    std::vector<Rating> ratings = seasoned(rng, 12);
    for (Rating& rating : ratings) rating.sigma = 4;
    const double before = total(ratings);
    std::vector<Rating> distinct = ratings;
    rate({}, distinct, distinct_scores(rng, 12));
    CHECK(total(distinct) == doctest::Approx(before).epsilon(1e-12));

    const std::vector<double> tied{1, 1, 1, 2, 2, 3, 4, 4, 4, 4, 5, -1};
    std::vector<Rating> paper = ratings, library = ratings;
    rate({.ties = TieRule::v620}, paper, tied);
    CHECK(total(paper) == doctest::Approx(before).epsilon(1e-12));
    rate({.ties = TieRule::v613}, library, tied);  // every tied player counts as a winner
    CHECK(total(library) > before + 0.1);
}

TEST_CASE("rate: only the order of scores matters, and neither their list order nor the zero of mu") {
    CounterRng rng(sha256(as_bytes("openskill invariance")));
    const size_t n = 9;
    const std::vector<Rating> before = seasoned(rng, n);
    const std::vector<double> scores = distinct_scores(rng, n);
    std::vector<Rating> after = before;
    rate({}, after, scores);

    std::vector<double> stretched = scores;
    for (double& score : stretched) score = std::exp(1000 * score);
    std::vector<Rating> same = before;
    rate({}, same, stretched);
    CHECK(same == after);

    std::vector<Rating> reversed(before.rbegin(), before.rend());
    const std::vector<double> reversed_scores(scores.rbegin(), scores.rend());
    rate({}, reversed, reversed_scores);
    std::reverse(reversed.begin(), reversed.end());
    CHECK(reversed == after);

    std::vector<Rating> shifted = before;
    for (Rating& rating : shifted) rating.mu += 100;
    rate({}, shifted, scores);
    for (size_t i = 0; i < n; ++i) {
        CHECK(shifted[i].mu - 100 == doctest::Approx(after[i].mu).epsilon(1e-12));
        CHECK(shifted[i].sigma == doctest::Approx(after[i].sigma).epsilon(1e-12));
    }
}

TEST_CASE("rate: tie rules differ where they should and nowhere else") {
    const std::vector<double> distinct{0.3, -0.1, 0.2};
    std::vector<Rating> first(3);
    rate({.ties = TieRule::v610a0}, first, distinct);
    for (TieRule ties : {TieRule::v613, TieRule::v620}) {
        std::vector<Rating> other(3);
        rate({.ties = ties}, other, distinct);
        CHECK(other == first);
    }
    // Two equal newcomers: 6.1.0a0 lets the first of the list win, 6.1.3 both; the paper calls it a draw.
    const std::vector<double> draw{0.5, 0.5};
    std::vector<Rating> a(2), b(2), c(2);
    rate({.ties = TieRule::v610a0}, a, draw);
    rate({.ties = TieRule::v613}, b, draw);
    rate({.ties = TieRule::v620}, c, draw);
    CHECK(a[0].mu > 25);
    CHECK(a[1].mu < 25);
    CHECK(b[0].mu > 25);
    CHECK(b[1] == b[0]);
    CHECK(c[0].mu == 25);
    CHECK(c[1] == c[0]);
    // A score of exactly 0, of either sign, at position 2 falls below one of -1 under 6.1.3 only.
    for (double zero : {0.0, -0.0}) {
        const std::vector<double> scores{1, -1, zero};
        std::vector<Rating> quirk(3), plain(3);
        rate({.ties = TieRule::v613}, quirk, scores);
        rate({.ties = TieRule::v620}, plain, scores);
        CHECK(quirk[2].mu < quirk[1].mu);
        CHECK(plain[2].mu > plain[1].mu);
    }
}

TEST_CASE("rate: infinite scores rank, and no gap between ratings makes a NaN") {
    const double inf = std::numeric_limits<double>::infinity();
    std::vector<Rating> ratings(4);
    rate({}, ratings, std::vector<double>{-inf, 0.1, inf, -inf});
    CHECK(ratings[2].mu > ratings[1].mu);
    CHECK(ratings[1].mu > ratings[0].mu);
    CHECK(ratings[0] == ratings[3]);

    std::vector<Rating> apart{{1e6, 1}, {-1e6, 1}, {0, 1}};
    rate({}, apart, std::vector<double>{-1, 1, 0});
    for (const Rating& rating : apart) {
        CHECK(std::isfinite(rating.mu));
        CHECK(rating.sigma > 0);
    }
}

TEST_CASE("rate: kappa and limit_sigma bound sigma") {
    // One very uncertain player last in a wide field.
    std::vector<Rating> ratings(40, {25, 0.1});
    ratings.push_back({60, 300});
    std::vector<double> scores(41, 0.0);
    std::iota(scores.rbegin(), scores.rend(), 1.0);
    rate({.beta = 1}, ratings, scores);
    CHECK(ratings.back().sigma == doctest::Approx(0.01 * std::hypot(300, 0.1)).epsilon(1e-12));

    std::vector<Rating> certain{{25, 0.01}, {25, 0.01}}, limited = certain;
    rate({}, certain, std::vector<double>{1, 2});
    rate({.limit_sigma = true}, limited, std::vector<double>{1, 2});
    CHECK(certain[0].sigma > 0.01);
    CHECK(limited[0].sigma == 0.01);
}

TEST_CASE("rate: a match of one, NaN scores and unequal lengths are refused, and nothing changes") {
    std::vector<Rating> ratings(3);
    CHECK_THROWS_AS(rate({}, std::span(ratings).first(1), std::vector<double>{1}), std::invalid_argument);
    CHECK_THROWS_AS(rate({}, ratings, std::vector<double>{1, 2}), std::invalid_argument);
    CHECK_THROWS_AS(rate({}, ratings, std::vector<double>{1, std::nan(""), 2}), std::invalid_argument);
    CHECK(ratings == std::vector<Rating>(3));
}
