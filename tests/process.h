// The programs as processes of a test's own.
#pragma once

#include "base/file.h"
#include "base/random.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

namespace templar::test {

inline std::string program(const std::string& name) {
    return std::string(TEMPLAR_BIN_DIR) + "/" + name;
}

struct Result {
    int code;
    std::string output;  // stdout and stderr
};

inline pid_t spawn(const std::vector<std::string>& argv, const std::filesystem::path& log,
                   int64_t file_size_limit = 0) {
    std::vector<char*> pointers;
    for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::setpgid(0, 0);
    if (!::freopen(log.c_str(), "a", stdout) || !::freopen(log.c_str(), "a", stderr)) ::_exit(126);
    if (file_size_limit > 0) {
        // Stands for a full disk: a program must take writing past the limit for one, though the signal's default
        // kills.
        const rlimit limit{static_cast<rlim_t>(file_size_limit), static_cast<rlim_t>(file_size_limit)};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        std::signal(SIGXFSZ, SIG_DFL);
    }
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
}

inline int wait_for(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline Result run(const std::vector<std::string>& argv, const std::filesystem::path& folder,
                  int64_t file_size_limit = 0) {
    const std::filesystem::path log = folder / ("out-" + to_hex(ByteSpan(random_secret()).first(4)));
    const int code = wait_for(spawn(argv, log, file_size_limit));
    return {code, read_text_file(log, 1 << 24)};
}

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace templar::test
