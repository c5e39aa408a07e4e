// Means with standard errors, as lm-eval 0.4.9 computes them.
#pragma once

#include "eval/scorer.h"

#include <span>

namespace templar {

// The mean of n values; error: their sample standard deviation over √n, not a number when n < 2. Of hits and misses
// that is √(p·(1 − p)/(n − 1)).
struct Mean {
    double value = 0, error = 0;
    int64_t n = 0;
};
Mean mean_of(std::span<const double> values);
// Of parts as one: each weighs by its n; the error from the pooled sample variance (n₁ − 1)·s₁² + …, over n₁ + … −
// parts.
Mean pooled(std::span<const Mean> parts);

// The number of the answer whose log-likelihood over its divisor is largest; the first of equal ones. A divisor of 0
// makes minus infinity.
int64_t best_answer(std::span<const Score> scores, std::span<const int64_t> divisors);

}  // namespace templar
