// What the tests of the operations share: every table that can run here, random tensors, comparisons.
#pragma once

#include "kernels/ops.h"

#include <functional>
#include <string>
#include <vector>

namespace templar::test {

using Values = std::vector<float>;
using Doubles = std::vector<double>;

struct Table {
    std::string isa;
    const Ops* ops;
};
// The tables of "portable", "avx2" and "avx512" that this processor can run; says once which it cannot.
const std::vector<Table>& tables();

// Standard normal values times `scale`; the same for the same seed.
Values normal(int64_t count, uint64_t seed, double scale = 1.0);
Doubles to_double(const Values& values);

// Runs on 1, 2 and 3 threads, checks that the results are equal bit for bit, and gives the first.
Values on_all_threads(const std::function<Values(Stream&)>& run);

// Checks |got - want| <= relative·|want| + absolute everywhere; reports the worst element.
void check_close(const Values& got, const Doubles& want, double relative, double absolute);

// The gradient of `loss` at x by central differences.
Doubles numeric_gradient(const std::function<double(const Doubles&)>& loss, Doubles x, double step = 1e-4);

double dot(const Doubles& a, const Doubles& b);

}  // namespace templar::test
