// Every decision leaves a line: a process appends structured events to its events.jsonl, one JSON object per
// line.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string_view>

namespace templar {

// Appends lines to a file; each line is written with one call, so that a line is whole or absent after a
// crash of the process. The log is an aid: when the disk is full events are dropped, the run goes on. A line
// that was cut short spoils no other: the next one, of this process or a later one, begins anew.
class EventLog {
  public:
    // An empty path: events go nowhere.
    explicit EventLog(const std::filesystem::path& path = {});
    ~EventLog();
    EventLog(const EventLog&) = delete;
    EventLog& operator=(const EventLog&) = delete;

    // Adds "t" (milliseconds, given by the caller's clock) and "event" to `fields` (an object) and appends
    // the line.
    void write(int64_t time_ms, std::string_view event, nlohmann::json fields);

  private:
    int fd_ = -1;
    bool cut_ = false;  // the file does not end with a line's end
};

}  // namespace templar
