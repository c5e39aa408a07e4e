// Time, injected everywhere it is needed, so that a test can run a swarm on a virtual clock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace templar {

class Clock {
  public:
    virtual ~Clock() = default;
    // Milliseconds since the Unix epoch.
    virtual int64_t now_ms() = 0;
    // Returns at `deadline_ms` or later; earlier only when `stop` becomes true (then false).
    virtual bool sleep_until(int64_t deadline_ms, const std::atomic<bool>& stop) = 0;
};

class SystemClock : public Clock {
  public:
    int64_t now_ms() override;
    bool sleep_until(int64_t deadline_ms, const std::atomic<bool>& stop) override;
};

// Time that stands still while any participant works and jumps to the earliest deadline when all of them sleep: a whole swarm
// runs as fast as it computes, in the same order of events every time. Each participant thread holds one Participant.
class VirtualClock : public Clock {
  public:
    explicit VirtualClock(int64_t start_ms) : now_(start_ms) {}

    // Counts the calling thread as one that must sleep before time moves. Create all before starting the threads.
    class Participant {
      public:
        explicit Participant(VirtualClock& clock);
        ~Participant();
        Participant(const Participant&) = delete;
        Participant& operator=(const Participant&) = delete;

      private:
        VirtualClock& clock_;
    };

    int64_t now_ms() override;
    bool sleep_until(int64_t deadline_ms, const std::atomic<bool>& stop) override;

  private:
    void advance_if_all_sleep();
    std::mutex mutex_;
    std::condition_variable moved_;
    std::multimap<int64_t, int> sleepers_;
    int participants_ = 0;
    int64_t now_;
};

}  // namespace templar
