#include "base/exact_cos.h"

#include "base/error.h"

namespace templar {

namespace {

constexpr double pi = 0x1.921fb54442d18p+1;

// For 0 <= x <= pi/4 the first term left out of either series is below 2^-65. The build forbids contraction
// into fused multiply-adds, and IEEE rounds each of *, / and - in one way only.
double cos_series(double x) {
    const double square = x * x;
    double sum = 1.0;
    for (int n = 18; n >= 2; n -= 2) sum = 1.0 - square / (n * (n - 1)) * sum;
    return sum;
}

double sin_series(double x) {
    const double square = x * x;
    double sum = 1.0;
    for (int n = 19; n >= 3; n -= 2) sum = 1.0 - square / (n * (n - 1)) * sum;
    return x * sum;
}

}  // namespace

double exact_cos_pi(int64_t numerator, int64_t denominator) {
    if (denominator < 1 || denominator > int64_t{1} << 51)
        fail(ExitCode::internal, "exact_cos_pi: expected a denominator in [1, 2^51], found {}", denominator);
    const int64_t d = denominator;
    int64_t n = numerator % (2 * d);  // one turn
    if (n < 0) n = -n;                // cos(-x) = cos(x)
    if (n > d) n = 2 * d - n;         // cos(2·pi - x) = cos(x)
    const bool negative = 2 * n > d;  // cos(pi - x) = -cos(x)
    if (negative) n = d - n;
    // Above pi/4: cos(x) = sin(pi/2 - x).
    const double magnitude =
        4 * n <= d ? cos_series(pi * static_cast<double>(n) / static_cast<double>(d))
                   : sin_series(pi * static_cast<double>(d - 2 * n) / static_cast<double>(2 * d));
    return negative ? -magnitude : magnitude;
}

}  // namespace templar
