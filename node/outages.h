// What a failing bucket means while a run goes on: nothing ends. (At start-up it is another matter: there an
// error ends the program.)
#pragma once

#include "base/events.h"
#include "net/bucket/bucket.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>

namespace templar {

// Pauses between looks at something that is not there yet: each half as long again as the one before.
class Pace {
  public:
    Pace(int64_t first_ms, int64_t longest_ms) : next_ms_(first_ms), longest_ms_(longest_ms) {}
    int64_t next() {
        const int64_t pause = next_ms_;
        next_ms_ = std::min(longest_ms_, pause + std::max<int64_t>(1, pause / 2));
        return pause;
    }

  private:
    int64_t next_ms_, longest_ms_;
};

// How long nobody looks at most, where windows are of this length.
inline int64_t longest_pause_ms(int64_t window_ms) {
    return std::clamp<int64_t>(window_ms / 20, 50, 5000);
}

// Every use of an own bucket inside the running loop passes through here, from one thread. An outage is said
// once, with the bucket's reason, and once more when it is over, and leaves an event each time; what failed
// is done again by whoever still needs it.
class Outages {
  public:
    static constexpr int64_t forever = std::numeric_limits<int64_t>::max();

    // Pauses between tries grow up to longest_pause_ms.
    Outages(Clock& clock, const std::atomic<bool>& stop, EventLog& events,
            std::function<void(const std::string&)> say, int64_t longest_pause_ms)
        : clock_(clock),
          stop_(stop),
          events_(events),
          say_(std::move(say)),
          longest_pause_ms_(longest_pause_ms) {}

    // True when `action` did its work with `bucket`; false when the bucket failed (Error(storage)) or a stop
    // ended it. Every other error goes on to the caller. `task`: of what may fail alone for long, such as
    // deleting with a key that may not: an outage of its own.
    bool reached(Bucket& bucket, const std::function<void()>& action, const std::string& task = "");
    // Again and again until it is done; false when stopped, or when `until_ms` came first.
    bool reached_by(int64_t until_ms, Bucket& bucket, const std::function<void()>& action,
                    const std::string& task = "");

  private:
    struct Outage {
        int64_t since_ms = 0;
        int64_t failures = 0;
    };
    void note_failure(const Bucket& bucket, const std::string& task, const Error& error);
    void note_success(const Bucket& bucket, const std::string& task);

    Clock& clock_;
    const std::atomic<bool>& stop_;
    EventLog& events_;
    std::function<void(const std::string&)> say_;
    int64_t longest_pause_ms_;
    std::map<std::pair<const Bucket*, std::string>, Outage> ongoing_;
};

}  // namespace templar
