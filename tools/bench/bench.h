// The bench's one case type: a named thing to repeat, how much work it is, and which ceiling it should come
// near.
#pragma once

#include "kernels/ops.h"

#include <functional>
#include <string>
#include <vector>

namespace templar::bench {

// What should limit a case. The ceiling is measured in the same run: a 2048³ matrix product, or a copy of a
// large array.
enum class Bound { compute, memory };

// A case made ready: `step` is repeated and timed; the work is that of one step.
struct Prepared {
    std::function<void()> step;
    double flops = 0;       // floating-point operations, for Bound::compute
    double bytes = 0;       // read and written, each counted once, for Bound::memory
    double items = 0;       // what people count, e.g. tokens; 0: nothing
    std::string item = "";  // its name: "tokens", "params"
};

struct Context {
    const Ops& ops;
    Stream stream;
};

struct Case {
    std::string name;
    std::string measures;  // one line for --list
    Bound bound;
    std::function<Prepared(const Context&)> prepare;
};

// What is counted as a step's time: the clock on the wall, or the processor time of all threads divided by
// their number. The second is the fairer one while other programs use the machine; it does not see a thread
// that waits.
enum class TimeBase { wall, processor };

// Times are seconds for one step. `best` is the figure to compare.
struct Result {
    double best = 0, median = 0;
    int64_t repetitions = 0;
};
// Repeats a step for about `seconds`, at least three times, after one step to warm up.
Result measure(const std::function<void()>& step, double seconds, TimeBase base, int threads);

// A 2-D or 1-D array with every element set, so that its pages exist and its values are ordinary numbers.
std::vector<float> random_values(int64_t n, uint64_t seed);

std::vector<Case> model_cases();     // cases_model.cpp
std::vector<Case> compress_cases();  // cases_compress.cpp

}  // namespace templar::bench
