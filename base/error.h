// Errors that a program reports to its user, and the exit codes they end in.
#pragma once

#if defined(__NVCC__)
#define FMT_USE_CONSTEXPR 1  // nvcc can check formats when compiling; fmt 9 does not expect it to
#endif
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace templar {

// Exit code table, the same in every program (printed by `--help`).
enum class ExitCode : int {
    ok = 0,
    internal = 1,      // a bug: please report
    usage = 2,         // wrong command line
    input = 3,         // a file or object that is missing, malformed or not what was expected
    diverged = 4,      // this replica's state is not the run's state
    storage = 5,       // bucket or disk: full, unreachable, refused
    identity = 6,      // key file missing, readable by others, or not registered
    device = 7,        // GPU: none, driver too old, not supported, out of memory, or it failed
    interrupted = 130  // Ctrl-C
};

// An error for the user: says what was expected, what was found, and what to do.
class Error : public std::runtime_error {
  public:
    Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
    ExitCode code() const { return code_; }

  private:
    ExitCode code_;
};

// Throws Error(code, formatted message).
template <class... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
    throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace templar
