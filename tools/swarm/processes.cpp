#include "tools/swarm/processes.h"

#include "base/error.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

namespace templar {

void Processes::start(const std::string& name, const std::vector<std::string>& argv,
                      const std::filesystem::path& log) {
    std::vector<char*> pointers;
    for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) fail(ExitCode::internal, "cannot start {}: {}", name, std::strerror(errno));
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != parent) ::_exit(1);
        const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
        const int in = ::open("/dev/null", O_RDONLY);
        ::dup2(in, STDIN_FILENO);
        ::dup2(out, STDOUT_FILENO);
        ::dup2(out, STDERR_FILENO);
        ::execv(pointers[0], pointers.data());
        ::_exit(127);
    }
    children_.push_back({name, pid, log});
}

std::vector<Processes::Ended> Processes::collect() {
    std::vector<Ended> ended;
    for (size_t i = 0; i < children_.size();) {
        int status = 0;
        if (::waitpid(children_[i].pid, &status, WNOHANG) != children_[i].pid) {
            ++i;
            continue;
        }
        const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        ended.push_back({children_[i].name, code, children_[i].log});
        children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return ended;
}

void Processes::stop_all() {
    for (const Child& child : children_) ::kill(child.pid, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!children_.empty() && std::chrono::steady_clock::now() < deadline) {
        collect();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    for (const Child& child : children_) {
        ::kill(child.pid, SIGKILL);
        ::waitpid(child.pid, nullptr, 0);
    }
    children_.clear();
}

Processes::~Processes() {
    stop_all();
}

std::string last_line(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string line, last;
    while (std::getline(file, line))
        if (!line.empty()) last = line;
    return last;
}

}  // namespace templar
