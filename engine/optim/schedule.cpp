#include "engine/optim/schedule.h"

#include "base/exact_cos.h"

namespace templar {

// Every product and sum is rounded to double on its own (the build forbids contraction) in the order written
// here.
float learning_rate(const Schedule& schedule, int64_t step) {
    const double peak = schedule.peak;
    const double floor = peak * schedule.floor_share;
    if (step < schedule.warmup_steps) {
        const double share = static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
        return static_cast<float>(floor + (peak - floor) * share);
    }
    const int64_t into_cosine = step - schedule.warmup_steps;
    if (into_cosine >= schedule.cosine_steps) return static_cast<float>(floor);
    const double height =
        0.5 * (1.0 + exact_cos_pi(into_cosine, schedule.cosine_steps));  // 1 at the top, 0 at the end
    return static_cast<float>(floor + (peak - floor) * height);
}

}  // namespace templar
