#include "node/outages.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t first_pause_ms = 50;

}  // namespace

bool Outages::reached(Bucket& bucket, const std::function<void()>& action, const std::string& task) {
    try {
        action();
    } catch (const Error& error) {
        // Who was told to stop reports no outage: its own stop cut the request off.
        if (error.code() == ExitCode::interrupted) return false;
        if (error.code() != ExitCode::storage) throw;
        if (!stop_) note_failure(bucket, task, error);
        return false;
    }
    note_success(bucket, task);
    return true;
}

bool Outages::reached_by(int64_t until_ms, Bucket& bucket, const std::function<void()>& action,
                         const std::string& task) {
    Pace pace(first_pause_ms, longest_pause_ms_);
    while (!stop_) {
        if (reached(bucket, action, task)) return true;
        const int64_t now = clock_.now_ms();
        if (now >= until_ms) return false;
        if (!clock_.sleep_until(now + std::min(pace.next(), until_ms - now), stop_)) return false;
    }
    return false;
}

void Outages::note_failure(const Bucket& bucket, const std::string& task, const Error& error) {
    Outage& outage = ongoing_[{&bucket, task}];
    if (outage.failures++ > 0) return;
    outage.since_ms = clock_.now_ms();
    events_.write(outage.since_ms, "outage",
                  {{"bucket", bucket.url()}, {"over", false}, {"message", error.what()}});
    say_(fmt::format("{}; going on, and trying again until it works", error.what()));
}

void Outages::note_success(const Bucket& bucket, const std::string& task) {
    const auto outage = ongoing_.find({&bucket, task});
    if (outage == ongoing_.end()) return;
    const int64_t now = clock_.now_ms();
    const double seconds = static_cast<double>(now - outage->second.since_ms) / 1000.0;
    const std::string message = fmt::format("{}{}{} works again after {:.1f} s", bucket.url(),
                                            task.empty() ? "" : ": ", task, seconds);
    events_.write(now, "outage",
                  {{"bucket", bucket.url()},
                   {"over", true},
                   {"message", message},
                   {"seconds", seconds},
                   {"failures", outage->second.failures}});
    say_(message);
    ongoing_.erase(outage);
}

}  // namespace templar
