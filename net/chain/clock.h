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

// Time that stands still while any participant works and jumps to the earliest deadline when all of them
// sleep: a whole swarm runs as fast as it computes, in the same order of events every time. Each participant
// thread holds one Participant.
class VirtualClock : public Clock {
  public:
    explicit VirtualClock(int64_t start_ms) : now_(start_ms) {}

    // Counts one thread that must sleep before time moves; its end lets the others go on. Create all before
    // starting the threads: a thread that is not counted yet holds nothing back. Only counted threads may
    // sleep while there are any.
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
    // Deadline and stop flag of each sleeping thread. Who moves time takes the woken out, so that they count
    // as working at once and time cannot move again before they have run.
    struct Sleeper {
        const std::atomic<bool>* stop;
        bool woken = false;
    };
    std::multimap<int64_t, Sleeper*> sleepers_;
    size_t participants_ = 0;
    int64_t now_;
};

}  // namespace templar
