#include "net/chain/clock.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace templar {

namespace {

// How long a `stop` that nobody announces (a signal handler's) may go unnoticed.
constexpr int64_t slice_ms = 100;

}  // namespace

int64_t SystemClock::now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

bool SystemClock::sleep_until(int64_t deadline_ms, const std::atomic<bool>& stop) {
    while (!stop) {
        const int64_t left = deadline_ms - now_ms();
        if (left <= 0) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left, slice_ms)));
    }
    return false;
}

VirtualClock::Participant::Participant(VirtualClock& clock) : clock_(clock) {
    const std::lock_guard lock(clock_.mutex_);
    ++clock_.participants_;
}

VirtualClock::Participant::~Participant() {
    const std::lock_guard lock(clock_.mutex_);
    --clock_.participants_;
    clock_.advance_if_all_sleep();
}

int64_t VirtualClock::now_ms() {
    const std::lock_guard lock(mutex_);
    return now_;
}

bool VirtualClock::sleep_until(int64_t deadline_ms, const std::atomic<bool>& stop) {
    std::unique_lock lock(mutex_);
    if (stop) return false;
    if (deadline_ms <= now_) return true;
    Sleeper self{&stop};
    const auto place = sleepers_.emplace(deadline_ms, &self);
    advance_if_all_sleep();
    while (!self.woken) {
        moved_.wait_for(lock, std::chrono::milliseconds(slice_ms));
        if (!self.woken && stop) {
            sleepers_.erase(place);
            return false;
        }
    }
    return now_ >= deadline_ms;
}

// Called with the mutex held.
void VirtualClock::advance_if_all_sleep() {
    if (sleepers_.empty() || sleepers_.size() < participants_) return;
    auto wake_if = [this](auto condition) {
        return std::erase_if(sleepers_, [&](const auto& entry) {
            return entry.second->woken = condition(entry.first, *entry.second);
        });
    };
    // Who was told to stop goes first: time does not move while it still has something to do.
    if (wake_if([](int64_t, const Sleeper& sleeper) { return sleeper.stop->load(); }) == 0) {
        now_ = sleepers_.begin()->first;
        wake_if([this](int64_t deadline, const Sleeper&) { return deadline <= now_; });
    }
    moved_.notify_all();
}

}  // namespace templar
