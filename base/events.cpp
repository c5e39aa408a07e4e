#include "base/events.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace templar {

namespace {

// Or has no bytes, or may not be read.
bool ends_a_line(const std::filesystem::path& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char last = '\n';
    return ::lseek(file.get(), -1, SEEK_END) < 0 || ::read(file.get(), &last, 1) != 1 || last == '\n';
}

}  // namespace

EventLog::EventLog(const std::filesystem::path& path) {
    if (path.empty()) return;
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) fail(ExitCode::storage, "cannot open the event log {}: {}", path.string(), std::strerror(errno));
    cut_ = !ends_a_line(path);
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
