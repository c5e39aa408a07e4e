// lm-eval 0.4.9's standard error of LAMBADA's perplexity.
#pragma once

#include <cstdint>
#include <span>

namespace templar {

// The sample standard deviation of exp(−mean) over `draws` (thousands) samples with replacement of as many
// log-likelihoods as there are. The draws are those of the harness, Python's random.choices() after seed(k) for the
// k-th thousand, so that its figure is met but for the rounding of sums. Not a number for fewer than two
// log-likelihoods.
double bootstrap_perplexity_error(std::span<const double> loglikelihoods, int64_t draws = 100'000);

}  // namespace templar
