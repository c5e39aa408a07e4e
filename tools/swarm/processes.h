// The child processes of a local run: started, watched, and always stopped.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace templar {

class Processes {
  public:
    Processes() = default;
    Processes(const Processes&) = delete;
    Processes& operator=(const Processes&) = delete;
    // Stops whatever still runs: SIGTERM, then SIGKILL after a grace of five seconds; waits for every one.
    ~Processes();

    // Starts argv[0] with stdout and stderr appended to `log`. The child is told to end (SIGTERM) when this
    // process dies in whatever way. Throws Error(internal) when it cannot be started.
    void start(const std::string& name, const std::vector<std::string>& argv,
               const std::filesystem::path& log);

    struct Ended {
        std::string name;
        int exit_code;  // 128 + signal when killed
        std::filesystem::path log;
    };
    // Those that ended since the last call.
    std::vector<Ended> collect();
    size_t running() const { return children_.size(); }
    void stop_all();

  private:
    struct Child {
        std::string name;
        pid_t pid;
        std::filesystem::path log;
    };
    std::vector<Child> children_;
};

// The last non-empty line of a text file; empty when there is none.
std::string last_line(const std::filesystem::path& path);

}  // namespace templar
