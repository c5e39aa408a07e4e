// The command line that miner and validator share.
#pragma once

#include "node/follower.h"

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

}  // namespace templar
