// For faults that end the program: runs a function in a child process.
#pragma once

#include <functional>
#include <string>

namespace templar::test {

struct ChildEnd {
    bool by_itself;      // it reached the end of `run`
    int signal;          // that ended it, else 0
    std::string output;  // what it wrote to stderr
};
ChildEnd run_in_child(const std::function<void()>& run);

}  // namespace templar::test
