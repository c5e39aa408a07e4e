#include "tools/bench/bench.h"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace templar::bench {

Result measure(const std::function<void()>& step, double seconds, TimeBase base, int threads) {
    using Clock = std::chrono::steady_clock;
    step();
    std::vector<double> times;
    for (double total = 0; total < seconds || times.size() < 3;) {
        const auto start = Clock::now();
        const std::clock_t processor_start = std::clock();
        step();
        const double processor = static_cast<double>(std::clock() - processor_start) / CLOCKS_PER_SEC;
        const double wall = std::chrono::duration<double>(Clock::now() - start).count();
        times.push_back(base == TimeBase::wall ? wall : processor / threads);
        total += wall;
    }
    std::sort(times.begin(), times.end());
    return {times.front(), times[times.size() / 2], static_cast<int64_t>(times.size())};
}

std::vector<float> random_values(int64_t n, uint64_t seed) {
    std::vector<float> values(static_cast<size_t>(n));
    uint32_t state = static_cast<uint32_t>(seed) * 2654435769u + 1;
    for (float& value : values) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
    }
    return values;
}

}  // namespace templar::bench
