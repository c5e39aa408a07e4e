// The learning rate of a window (docs/protocol.md §7).
#pragma once

#include <cstdint>

namespace templar {

struct Schedule {
    double peak = 4e-4;
    double floor_share = 0.1;      // of the peak: where warm-up starts and where the cosine ends
    int64_t warmup_steps = 250;  // linear
    int64_t cosine_steps = 20000;
    bool operator==(const Schedule&) const = default;
};

// Rate after `step` applied records (records with an empty accepted list do not count). Same bits on every machine.
float learning_rate(const Schedule& schedule, int64_t step);

}  // namespace templar
