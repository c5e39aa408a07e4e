#include "tools/bench/bench.h"

#include <algorithm>
#include <chrono>
#include <ctime>

namespace templar::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t flush_bytes = int64_t{256} << 20;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Timing timing(std::vector<double> times) {
    std::ranges::sort(times);
    return {times.front(), times[times.size() / 2], std::ssize(times)};
}

}  // namespace

Stopwatch::Stopwatch(Device& device, double seconds, TimeBase base) : device_(device), seconds_(seconds), base_(base) {
    if (!device.shares_host_memory()) flush_ = DeviceMemory(device, flush_bytes);
}

Timing Stopwatch::measure_host(const std::function<void()>& step) const { return measure_host(step, 1); }

Timing Stopwatch::measure_host(const std::function<void()>& step, int threads) const {
    step();
    std::vector<double> times;
    for (double total = 0; total < seconds_ || times.size() < 3;) {
        const auto start = Clock::now();
        const std::clock_t processor_start = std::clock();
        step();
        const double processor = static_cast<double>(std::clock() - processor_start) / CLOCKS_PER_SEC;
        const double wall = seconds_since(start);
        times.push_back(base_ == TimeBase::wall ? wall : processor / threads);
        total += wall;
    }
    return timing(std::move(times));
}

// Enqueued together, so that only the first can find the device idle and be charged for its own launch.
std::vector<double> Stopwatch::measure_group(const std::function<void()>& step, bool cold, size_t repetitions) {
    Stream& stream = device_.stream();
    while (events_.size() < 2 * repetitions) events_.push_back(device_.make_event());
    for (size_t i = 0; i < repetitions; ++i) {
        if (cold) device_.fill_zero(stream, flush_.data(), flush_.bytes());
        events_[2 * i]->record(stream);
        step();
        events_[2 * i + 1]->record(stream);
    }
    device_.wait(stream);
    std::vector<double> times;
    for (size_t i = 0; i < repetitions; ++i) times.push_back(events_[2 * i + 1]->seconds_since(*events_[2 * i]));
    return times;
}

Timing Stopwatch::measure(const std::function<void()>& step, bool cold) {
    if (device_.shares_host_memory())
        return measure_host(
            [&] {
                step();
                device_.wait(device_.stream());
            },
            device_.stream().threads);
    // The first step of all may choose algorithms or load code.
    measure_group(step, cold, 1);
    const double warm = measure_group(step, cold, 1).front();
    const size_t group = static_cast<size_t>(std::clamp(0.1 / std::max(warm, 1e-6), 1.0, 32.0));
    std::vector<double> times;
    for (const auto start = Clock::now(); times.size() < 3 || seconds_since(start) < seconds_;)
        std::ranges::copy(measure_group(step, cold, group), std::back_inserter(times));
    return timing(std::move(times));
}

}  // namespace templar::bench
