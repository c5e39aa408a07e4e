// Wall-clock time per phase of a window, for people: no decision depends on it.
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace templar {

// Adds the seconds of its lifetime to phases[name].
class PhaseTimer {
  public:
    PhaseTimer(std::map<std::string, double>& phases, const char* name) : slot_(phases[name]) {}
    ~PhaseTimer() {
        slot_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    }
    PhaseTimer(const PhaseTimer&) = delete;
    PhaseTimer& operator=(const PhaseTimer&) = delete;

  private:
    double& slot_;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace templar
