#include "engine/optim/schedule.h"

#include "base/exact_cos.h"

namespace templar {

// Every product and sum is rounded to double on its own (the build forbids contraction) in the order written
// here.
float learning_rate(const Schedule& schedule, int64_t step) {
    return learning_rate(TrainSchedule{.decline = Decline::cosine,
                                       .peak = schedule.peak,
                                       .start_share = schedule.floor_share,
                                       .floor_share = schedule.floor_share,
                                       .warmup_steps = schedule.warmup_steps,
                                       .decay_begin = schedule.warmup_steps,
                                       .decay_steps = schedule.cosine_steps},
                         step);
}

float learning_rate(const TrainSchedule& schedule, int64_t step) {
    const double peak = schedule.peak;
    if (step < schedule.warmup_steps) {
        const double start = peak * schedule.start_share;
        const double share = static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
        return static_cast<float>(start + (peak - start) * share);
    }
    const double floor = peak * schedule.floor_share;
    const int64_t declined = step - schedule.decay_begin;
    if (schedule.decline == Decline::constant) return static_cast<float>(peak);
    if (declined >= schedule.decay_steps) return static_cast<float>(floor);
    if (declined < 0) return static_cast<float>(peak);
    const double height =  // 1 at the top, 0 at the end
        schedule.decline == Decline::cosine
            ? 0.5 * (1.0 + exact_cos_pi(declined, schedule.decay_steps))
            : static_cast<double>(schedule.decay_steps - declined) / static_cast<double>(schedule.decay_steps);
    return static_cast<float>(floor + (peak - floor) * height);
}

}  // namespace templar
