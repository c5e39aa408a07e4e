#include "base/events.h"

#include "base/error.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace templar {

EventLog::EventLog(const std::filesystem::path& path) {
    if (path.empty()) return;
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0)
        fail(ExitCode::storage, "cannot open the event log {}: {}", path.string(), std::strerror(errno));
    const off_t size = ::lseek(fd_, 0, SEEK_END);
    char last = '\n';
    cut_ = size > 0 && ::pread(fd_, &last, 1, size - 1) == 1 && last != '\n';
}

EventLog::~EventLog() {
    if (fd_ >= 0) ::close(fd_);
}

void EventLog::write(int64_t time_ms, std::string_view event, nlohmann::json fields) {
    if (fd_ < 0) return;
    fields["t"] = time_ms;
    fields["event"] = event;
    const std::string line =
        (cut_ ? "\n" : "") + fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const ssize_t written = ::write(fd_, line.data(), line.size());
    if (written > 0) cut_ = static_cast<size_t>(written) < line.size();
}

}  // namespace templar
