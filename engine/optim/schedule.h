// Learning rates: of a swarm's window (docs/protocol.md §7), and of a step on one machine.
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

// constant: the peak after the warm-up. cosine: half a cosine from the peak to the floor, then the floor. wsd ("warm-up,
// stable, decay", arXiv 2404.06395): the peak until decay_begin, then linear to the floor.
enum class Decline { constant, cosine, wsd };

struct TrainSchedule {
    Decline decline = Decline::cosine;
    double peak = 1e-3;
    double start_share = 0.1;  // of the peak: the rate of step 0 when there is a warm-up
    double floor_share = 0.1;  // of the peak: where the decline ends
    int64_t warmup_steps = 0;  // linear from the start; step `warmup_steps` has the peak
    int64_t decay_begin = 0;   // the first step of the decline, not before warmup_steps
    int64_t decay_steps = 1;   // its length; the step after it has the floor
    bool operator==(const TrainSchedule&) const = default;
};

// Rate of step `step` (the first is 0). Same bits on every machine; a cosine whose start is its floor, and whose decline
// follows the warm-up at once, has the swarm's.
float learning_rate(const TrainSchedule& schedule, int64_t step);

}  // namespace templar
