#include "tests/simt/child.h"

#include <csignal>
#include <cstdio>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

namespace templar::test {

ChildEnd run_in_child(const std::function<void()>& run) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) throw std::runtime_error("pipe");
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) throw std::runtime_error("fork");
    if (child == 0) {
        for (int signal : {SIGSEGV, SIGABRT, SIGBUS}) std::signal(signal, SIG_DFL);  // not the test framework's
        dup2(pipe_ends[1], STDERR_FILENO);
        close(pipe_ends[0]);
        run();
        _exit(0);
    }
    close(pipe_ends[1]);
    ChildEnd end{};
    char buffer[4096];
    for (ssize_t n; (n = read(pipe_ends[0], buffer, sizeof buffer)) > 0;)
        end.output.append(buffer, static_cast<size_t>(n));
    close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    end.by_itself = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return end;
}

}  // namespace templar::test
