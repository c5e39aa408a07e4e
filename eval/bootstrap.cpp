#include "eval/bootstrap.h"

#include "base/in_parallel.h"
#include "eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <thread>
#include <vector>

namespace templar {

namespace {

constexpr int64_t draws_per_seed = 1000;

// The state that Python's random.seed(key) gives the Mersenne twister, for a key of 32 bits: init_by_array of Matsumoto
// and Nishimura's mt19937ar. A seed sequence of the standard library, which has only other ways to begin.
struct PythonSeed {
    using result_type = uint32_t;
    uint32_t key;

    template <class Iterator>
    void generate(Iterator state, Iterator end) {
        const auto size = static_cast<uint32_t>(end - state);
        const auto mixed = [&](uint32_t i) { return state[i] ^ (state[i] >> 30); };
        state[0] = 19650218;
        for (uint32_t i = 1; i < size; ++i) state[i] = 1812433253 * mixed(i - 1) + i;
        uint32_t i = 1;
        const auto advance = [&] {
            if (++i < size) return;
            state[0] = state[size - 1];
            i = 1;
        };
        for (uint32_t k = 0; k < size; ++k, advance()) state[i] = (state[i] ^ (mixed(i - 1) * 1664525)) + key;
        for (uint32_t k = 1; k < size; ++k, advance()) state[i] = (state[i] ^ (mixed(i - 1) * 1566083941)) - i;
        state[0] = 0x80000000;
    }
};

// random.random(): 53 bits of two numbers, in [0, 1).
double python_random(std::mt19937& twister) {
    const uint32_t high = twister() >> 5, low = twister() >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

}  // namespace

double bootstrap_perplexity_error(std::span<const double> loglikelihoods, int64_t draws) {
    if (loglikelihoods.size() < 2) return std::numeric_limits<double>::quiet_NaN();
    const auto n = static_cast<double>(loglikelihoods.size());
    std::vector<double> perplexities(static_cast<size_t>(draws));
    const auto thousand = [&](int64_t seed) {
        PythonSeed key{static_cast<uint32_t>(seed)};
        std::mt19937 twister(key);
        for (int64_t draw = seed * draws_per_seed; draw < (seed + 1) * draws_per_seed; ++draw) {
            double sum = 0;
            for (size_t k = 0; k < loglikelihoods.size(); ++k)
                sum += loglikelihoods[static_cast<size_t>(python_random(twister) * n)];
            perplexities[static_cast<size_t>(draw)] = std::exp(-sum / n);
        }
    };
    in_parallel(draws / draws_per_seed, thousand, std::max(1u, std::thread::hardware_concurrency()));
    return mean_of(perplexities).error * std::sqrt(static_cast<double>(draws));
}

}  // namespace templar
