#include "eval/metrics.h"

#include <cmath>
#include <limits>

namespace templar {

Mean mean_of(std::span<const double> values) {
    Mean mean{.value = 0, .error = std::numeric_limits<double>::quiet_NaN(), .n = std::ssize(values)};
    for (const double value : values) mean.value += value;
    const auto n = static_cast<double>(mean.n);
    mean.value /= n;
    if (mean.n < 2) return mean;
    double squares = 0;
    for (const double value : values) squares += (value - mean.value) * (value - mean.value);
    mean.error = std::sqrt(squares / (n - 1) / n);
    return mean;
}

Mean pooled(std::span<const Mean> parts) {
    Mean all;
    double squares = 0;
    for (const Mean& part : parts) {
        const auto n = static_cast<double>(part.n);
        all.n += part.n;
        all.value += part.value * n;
        squares += (n - 1) * part.error * part.error * n;  // not a number where a part has one row
    }
    const auto n = static_cast<double>(all.n);
    all.value /= n;
    all.error = std::sqrt(squares / (n - static_cast<double>(parts.size())) / n);
    return all;
}

int64_t best_answer(std::span<const Score> scores, std::span<const int64_t> divisors) {
    int64_t best = 0;
    double highest = -std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < scores.size(); ++i) {
        const double value = scores[i].loglikelihood / static_cast<double>(divisors[i]);
        if (value > highest) {
            highest = value;
            best = static_cast<int64_t>(i);
        }
    }
    return best;
}

}  // namespace templar
