#include "engine/model/sampler.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>

using namespace templar;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// Logits whose softmax is these probabilities.
std::vector<float> logits_of(std::initializer_list<double> probabilities) {
    std::vector<float> logits;
    for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
    return logits;
}

std::vector<double> shares(SamplerOptions options, const std::vector<float>& logits, int draws = 20000) {
    Sampler sampler(options);
    std::vector<double> count(logits.size(), 0.0);
    for (int i = 0; i < draws; ++i) count[static_cast<size_t>(sampler.next(logits))] += 1.0 / draws;
    return count;
}

// Five standard errors of 20,000 draws are at most 0.018.
void check_shares(SamplerOptions options, const std::vector<float>& logits, const std::vector<double>& want) {
    const std::vector<double> got = shares(options, logits);
    REQUIRE(got.size() == want.size());
    for (size_t v = 0; v < want.size(); ++v) {
        CAPTURE(v);
        if (want[v] == 0)
            CHECK(got[v] == 0);
        else
            CHECK(std::abs(got[v] - want[v]) < 0.018);
    }
}

}  // namespace

TEST_CASE("tokens are drawn as often as softmax says") {
    const std::vector<float> logits = logits_of({0.1, 0.4, 0.2, 0.3});
    check_shares({}, logits, {0.1, 0.4, 0.2, 0.3});
    // Adding to all logits changes nothing.
    std::vector<float> shifted = logits;
    for (float& z : shifted) z += 1000;
    check_shares({}, shifted, {0.1, 0.4, 0.2, 0.3});
    // temperature 1/2 squares the probabilities: 1, 16, 4, 9 of 30; temperature 2 takes their roots.
    check_shares({.temperature = 0.5}, logits, {1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0});
    const double roots = std::sqrt(1.0) + std::sqrt(4.0) + std::sqrt(2.0) + std::sqrt(3.0);
    check_shares({.temperature = 2}, logits,
                 {std::sqrt(1.0) / roots, std::sqrt(4.0) / roots, std::sqrt(2.0) / roots, std::sqrt(3.0) / roots});
}

TEST_CASE("top-k keeps the k most likely, top-p the most likely that reach p, top-k first") {
    const std::vector<float> logits = logits_of({0.1, 0.4, 0.2, 0.3});
    check_shares({.top_k = 2}, logits, {0, 4 / 7.0, 0, 3 / 7.0});
    check_shares({.top_k = 1}, logits, {0, 1, 0, 0});
    for (const int64_t all : {int64_t{4}, int64_t{5}, std::numeric_limits<int64_t>::max()})
        check_shares({.top_k = all}, logits, {0.1, 0.4, 0.2, 0.3});
    // 0.4 + 0.3 < 0.75 <= 0.4 + 0.3 + 0.2
    check_shares({.top_p = 0.75}, logits, {0, 4 / 9.0, 2 / 9.0, 3 / 9.0});
    check_shares({.top_p = 0.6}, logits, {0, 4 / 7.0, 0, 3 / 7.0});
    check_shares({.top_p = 1e-300}, logits, {0, 1, 0, 0});
    check_shares({.top_p = 0}, logits, {0, 1, 0, 0});
    // Of the three: 4/9, 3/9, 2/9; the first alone has less than 0.5, the first two more.
    check_shares({.top_k = 3, .top_p = 0.5}, logits, {0, 4 / 7.0, 0, 3 / 7.0});
    // After the temperature: 16, 9, 4, 1 of 30; 0.5 needs one token only.
    check_shares({.temperature = 0.5, .top_p = 0.5}, logits, {0, 1, 0, 0});
}

TEST_CASE("of equal logits the lower id comes first") {
    const std::vector<float> equal(6, 1.5f);
    CHECK(Sampler({.temperature = 0}).next(equal) == 0);
    CHECK(Sampler({.temperature = 0}).next(std::vector<float>{0, 2, 1, 2}) == 1);
    check_shares({.top_k = 2}, equal, {0.5, 0.5, 0, 0, 0, 0});
    check_shares({.top_p = 0.4}, equal, {1 / 3.0, 1 / 3.0, 1 / 3.0, 0, 0, 0});
    check_shares({}, equal, {1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0});
    check_shares({}, {-0.0f, 0.0f}, {0.5, 0.5});
}

TEST_CASE("extreme temperatures and logits draw what their limits say") {
    const std::vector<float> logits = {1, 3, 2};
    check_shares({.temperature = 1e-300}, logits, {0, 1, 0});
    check_shares({.temperature = std::numeric_limits<double>::denorm_min()}, logits, {0, 1, 0});
    check_shares({.temperature = std::numeric_limits<double>::max()}, logits, {1 / 3.0, 1 / 3.0, 1 / 3.0});
    // Nothing is drawn that cannot be, even where all that can is asked for.
    check_shares({.top_k = 3}, {-infinity, 0, -infinity}, {0, 1, 0});
    check_shares({.temperature = 1e300}, {-infinity, 0, 5}, {0, 0.5, 0.5});
    check_shares({}, {-3e38f, 3e38f, 0}, {0, 1, 0});
    check_shares({.top_p = 0.9}, {7}, {1});
}

TEST_CASE("logits that are no numbers are refused, and so are impossible options") {
    for (const float bad : {NAN, infinity, -NAN})
        for (const double temperature : {0.0, 1.0})
            for (size_t at = 0; at < 3; ++at) {
                std::vector<float> logits = {1, 2, 3};
                logits[at] = bad;
                CHECK_THROWS_WITH_AS(Sampler({.temperature = temperature}).next(logits), doctest::Contains("logit"),
                                     Error);
            }
    for (const double temperature : {0.0, 1.0}) {
        CHECK_THROWS_AS(Sampler({.temperature = temperature}).next(std::vector<float>(3, -infinity)), Error);
        CHECK_THROWS_AS(Sampler({.temperature = temperature}).next({}), Error);
    }
    const double nan = std::nan("");
    for (const SamplerOptions& options :
         {SamplerOptions{.temperature = -1}, SamplerOptions{.temperature = nan},
          SamplerOptions{.temperature = double(infinity)}, SamplerOptions{.top_k = -1}, SamplerOptions{.top_p = -0.1},
          SamplerOptions{.top_p = 1.1}, SamplerOptions{.top_p = nan}})
        try {
            Sampler sampler(options);
            FAIL("expected an error");
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::usage);
        }
}

TEST_CASE("the seed decides, and nothing else") {
    const std::vector<float> logits = logits_of({0.1, 0.4, 0.2, 0.3});
    const auto drawn = [&](SamplerOptions options) {
        Sampler sampler(options);
        std::vector<int32_t> tokens;
        for (int i = 0; i < 100; ++i) tokens.push_back(sampler.next(logits));
        return tokens;
    };
    CHECK(drawn({.seed = 1}) == drawn({.seed = 1}));
    CHECK(drawn({.seed = 1}) != drawn({.seed = 2}));
    CHECK(drawn({.top_k = 3, .seed = 1}) == drawn({.top_k = 3, .seed = 1}));
    // Kept for good: a story told once can be told again.
    Sampler sampler({.seed = 7});
    std::string first;
    for (int i = 0; i < 16; ++i) first += std::to_string(sampler.next(logits));
    CHECK(first == "3111323110123123");
}

TEST_CASE("a large vocabulary's nucleus is the one that sorting finds") {
    CounterRng rng(sha256(as_bytes("logits")));
    std::vector<float> logits;
    for (int v = 0; v < 5000; ++v) logits.push_back(static_cast<float>(std::round(4 * rng.normal()) / 2));  // many ties
    double sum = 0;
    std::vector<std::pair<double, int32_t>> ranked;
    for (int32_t v = 0; v < 5000; ++v) {
        const double weight = std::exp(static_cast<double>(logits[static_cast<size_t>(v)]));
        ranked.emplace_back(-weight, v);
        sum += weight;
    }
    std::sort(ranked.begin(), ranked.end());
    std::map<int32_t, bool> nucleus;
    double reached = 0;
    for (const auto& [weight, v] : ranked) {
        if (reached >= 0.3 * sum) break;
        reached -= weight;
        nucleus[v] = false;
    }
    Sampler sampler({.top_p = 0.3});
    for (int i = 0; i < 20000; ++i) {
        const int32_t token = sampler.next(logits);
        REQUIRE(nucleus.contains(token));
        nucleus[token] = true;
    }
    size_t met = 0;
    for (const auto& [token, seen] : nucleus) met += seen;
    CHECK(met > nucleus.size() * 9 / 10);
}
