// What every program shares: one place that prints errors, the exit code table, Ctrl-C, OpenMP settings.
#pragma once

#include "base/error.h"

#include <atomic>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace templar {

// What a program spends its time on. One that computes runs OpenMP kernels, and is started again with
// OMP_WAIT_POLICY=passive when the environment says nothing: spinning threads cost several programs on one
// machine most of their speed. One that answers a person goes from one short operation to the next: its threads look a
// moment for work before they sleep.
enum class Work { computes, answers, moves };

// Runs `define` (which adds options to the app), parses argv, runs the function that `define` returned, and
// turns whatever happens into an exit code. --help ends with the exit code table; --version prints the
// version.
int run_program(int argc, char** argv, const std::string& name, const std::string& description,
                const std::function<std::function<int()>(CLI::App&)>& define, Work work = Work::computes);

// Becomes true at the first Ctrl-C (SIGINT) or SIGTERM; a second one ends the process at once.
const std::atomic<bool>& stop_requested();

// Names of the model presets with their purpose, for --help.
std::string preset_names();

// "1.2 k", "3.4 M": three significant figures; "01:23" or "1:02:03" for seconds.
std::string short_count(double value);
std::string short_duration(double seconds);

// A line on stderr that is rewritten in place on a terminal (and printed at most every ten seconds
// elsewhere): what, share done, rate and time left; without share and time left where the total is not known (< 0).
class Progress {
  public:
    // `already` had been done before: it does not count for the rate.
    Progress(std::string what, std::string unit, double total, double already = 0);
    ~Progress();
    void update(double done);
    // With a total that is known better by now, and a note for the line's end.
    void update(double done, double total, const std::string& note);

  private:
    void print(double done, bool last);
    std::string what_, unit_, note_;
    double total_, already_, started_, printed_ = 0, done_ = 0;
    bool terminal_;
};

}  // namespace templar
