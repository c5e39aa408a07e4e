#include "engine/gauntlet/openskill.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace templar {

namespace {

// What a player is ranked by: the lowest key is the best.
std::vector<double> rank_keys(TieRule ties, std::span<const double> scores) {
    std::vector<double> keys(scores.size());
    for (size_t i = 0; i < scores.size(); ++i) {
        if (std::isnan(scores[i]))
            throw std::invalid_argument("rate: score " + std::to_string(i) + " is NaN");
        keys[i] = -scores[i];
        // openskill.py 6.1.3 takes a key of 0 for "no key" and uses the list position.
        if (ties == TieRule::v613 && keys[i] == 0) keys[i] = static_cast<double>(i);
    }
    return keys;
}

}  // namespace

// With eᵢ = exp(μᵢ/c) and c² = Σ(vᵢ + β²), player i's share of the field from place q downwards is xᵢ =
// eᵢ/Σe. Summed over all places q at or above its own, Ωᵢ = Σ(hit − xᵢ) moves the mean and Δᵢ = Σ xᵢ(1 − xᵢ)
// shrinks the deviation. The 1/A of a group of A tied players cancels against its A equal terms, so each
// group is counted once. openskill.py also has a step that averages over tied players; it changes nothing
// there, and is left out here.
void rate(const OpenSkillParams& params, std::span<Rating> ratings, std::span<const double> scores) {
    const size_t n = ratings.size();
    if (n < 2) throw std::invalid_argument("rate: a match needs at least two players");
    if (scores.size() != n) throw std::invalid_argument("rate: expected one score per player");

    const std::vector<double> keys = rank_keys(params.ties, scores);
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });

    // From here on players are counted by place, 0 = best. sigma includes tau.
    std::vector<double> mu(n), sigma(n);
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const Rating& rating = ratings[order[i]];
        mu[i] = rating.mu;
        sigma[i] = std::sqrt(rating.sigma * rating.sigma + params.tau * params.tau);
        sum += sigma[i] * sigma[i] + params.beta * params.beta;
    }
    const double c = std::sqrt(sum);

    std::vector<double> omega(n, 0.0), delta(n, 0.0), strength(n);
    for (size_t first = 0, next = 0; first < n; first = next) {
        next = first + 1;
        while (params.ties != TieRule::v610a0 && next < n && keys[order[next]] == keys[order[first]]) ++next;
        const double tied = static_cast<double>(next - first);
        const double hit = params.ties == TieRule::v620 ? 1.0 / tied : 1.0;

        // Relative to the strongest of those left, so that no exp overflows and the sum is at least 1.
        const double strongest = *std::max_element(mu.begin() + static_cast<std::ptrdiff_t>(first), mu.end());
        double total = 0;
        for (size_t i = first; i < n; ++i) total += strength[i] = std::exp((mu[i] - strongest) / c);
        for (size_t i = first; i < n; ++i) {
            const double x = strength[i] / total;
            omega[i] += (i < next ? hit : 0.0) - x;
            delta[i] += x * (1 - x);
        }
    }

    for (size_t i = 0; i < n; ++i) {
        Rating& rating = ratings[order[i]];
        const double variance = sigma[i] * sigma[i];
        const double gamma = sigma[i] / c;
        const double shrink = std::sqrt(std::max(1 - variance / (c * c) * delta[i] * gamma, params.kappa));
        rating.mu = mu[i] + variance / c * omega[i];
        rating.sigma = params.limit_sigma ? std::min(sigma[i] * shrink, rating.sigma) : sigma[i] * shrink;
    }
}

}  // namespace templar
