// The cosine of this project: the same bits on every machine, unlike libm's.
#pragma once

#include <cstdint>

namespace templar {

// cos(pi·numerator/denominator) in double: integer range reduction to [0, pi/4], then a Taylor series by
// Horner's rule from the last term to the first, each operation rounded on its own. Within 3 ulp of the true
// value. denominator in [1, 2^51]; any numerator.
double exact_cos_pi(int64_t numerator, int64_t denominator);

}  // namespace templar
