#include "tools/bench/bench.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <iterator>

namespace templar::bench {

namespace {

constexpr int64_t flush_bytes = int64_t{256} << 20;

double wall() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Timing timing(std::vector<double> times) {
    std::ranges::sort(times);
    return {times.front(), times[times.size() / 2], std::ssize(times)};
}

}  // namespace

Stopwatch::Stopwatch(Device& device, double seconds, TimeBase base) : device_(device), seconds_(seconds), base_(base) {
    if (!device.shares_host_memory()) flush_ = DeviceMemory(device, flush_bytes);
}

double Stopwatch::processor_or_wall(int threads) const {
    if (base_ == TimeBase::wall) return wall();
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC / threads;
}

void Stopwatch::set(Mark& mark) {
    if (device_.shares_host_memory()) {
        mark.seconds = processor_or_wall(device_.stream().threads);
        return;
    }
    if (!mark.event) mark.event = device_.make_event();
    mark.event->record(device_.stream());
}

double Stopwatch::between(const Mark& from, const Mark& to) const {
    return to.event ? to.event->seconds_since(*from.event) : to.seconds - from.seconds;
}

Timing Stopwatch::measure_host(const std::function<void()>& step) const {
    return repeat_on_host(step, 1);
}

Timing Stopwatch::repeat_on_host(const std::function<void()>& step, int threads) const {
    step();
    std::vector<double> times;
    for (const double start = wall(); times.size() < 3 || wall() - start < seconds_;) {
        const double before = processor_or_wall(threads);
        step();
        times.push_back(processor_or_wall(threads) - before);
    }
    return timing(std::move(times));
}

// Enqueued together, so that only the first can find the device idle and be charged for its own launch.
std::vector<double> Stopwatch::measure_group(const std::function<void()>& step, bool cold, size_t repetitions) {
    if (marks_.size() < 2 * repetitions) marks_.resize(2 * repetitions);
    for (size_t i = 0; i < repetitions; ++i) {
        if (cold) device_.fill_zero(device_.stream(), flush_.data(), flush_.bytes());
        set(marks_[2 * i]);
        step();
        set(marks_[2 * i + 1]);
    }
    device_.wait(device_.stream());
    std::vector<double> times;
    for (size_t i = 0; i < repetitions; ++i) times.push_back(between(marks_[2 * i], marks_[2 * i + 1]));
    return times;
}

Timing Stopwatch::measure(const std::function<void()>& step, bool cold) {
    if (device_.shares_host_memory()) return repeat_on_host(step, device_.stream().threads);
    // The first step of all may choose algorithms or load code.
    measure_group(step, cold, 1);
    const double warm = measure_group(step, cold, 1).front();
    const size_t group = static_cast<size_t>(std::clamp(0.1 / std::max(warm, 1e-6), 1.0, 32.0));
    std::vector<double> times;
    for (const double start = wall(); times.size() < 3 || wall() - start < seconds_;)
        std::ranges::copy(measure_group(step, cold, group), std::back_inserter(times));
    return timing(std::move(times));
}

}  // namespace templar::bench
