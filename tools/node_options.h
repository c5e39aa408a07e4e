// The command line that miner and validator share.
#pragma once

#include "node/options.h"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace templar {

struct NodeFlags {
    NodeOptions options;
    std::string run_id;
    void add_to(CLI::App& app);
    // The options with run_id parsed; lines for the operator go to stderr after the program's name. Throws
    // Error(usage).
    NodeOptions parsed(const std::string& program) const;
};

// Runs a participant to its end and returns the program's exit code. A stop may cut off anything it waits
// for: what that throws is no error.
int run_participant(const std::string& program, const std::function<void()>& body);

}  // namespace templar
