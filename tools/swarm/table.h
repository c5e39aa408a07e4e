// The live table of a local run, from the validator's event log.
#pragma once

#include "node/local_swarm.h"

#include <nlohmann/json_fwd.hpp>

namespace templar {

class WindowTable {
  public:
    WindowTable(const LocalSwarm& swarm, int64_t windows);
    // Prints what the log has gained since the last call.
    void follow();

  private:
    void print(const nlohmann::json& event);

    std::map<std::string, std::string> names_;      // by hotkey
    std::map<std::string, std::string> penalties_;  // last penalty by hotkey
    std::filesystem::path log_;
    int64_t windows_;
    int64_t offset_ = 0;
    int64_t started_ms_;
    int64_t window_ms_;
};

// The end of a run for people, from the text of summary.json.
std::string summary_text(const std::string& summary_json, const std::filesystem::path& folder);

}  // namespace templar
