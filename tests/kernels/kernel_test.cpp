#include "tests/kernels/kernel_test.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

namespace templar::test {

const std::vector<Table>& tables() {
    static const std::vector<Table> found = [] {
        std::vector<Table> list;
        for (const char* isa : {"portable", "avx2", "avx512"}) {
            try {
                list.push_back({isa, &cpu_ops(isa)});
            } catch (const Error& error) {
                MESSAGE("skipped: " << error.what());
            }
        }
        return list;
    }();
    return found;
}

Values normal(int64_t count, uint64_t seed, double scale) {
    CounterRng rng(sha256(as_bytes("kernel test " + std::to_string(seed))));
    Values values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(scale * rng.normal());
    return values;
}

Doubles to_double(const Values& values) {
    return Doubles(values.begin(), values.end());
}

Values on_all_threads(const std::function<Values(Stream&)>& run) {
    Values first;
    for (int threads : {1, 2, 3}) {
        Stream stream{threads};
        const Values result = run(stream);
        if (threads == 1) first = result;
        CAPTURE(threads);
        REQUIRE(result.size() == first.size());
        CHECK(std::memcmp(result.data(), first.data(), result.size() * sizeof(float)) == 0);
    }
    return first;
}

void check_close(const Values& got, const Doubles& want, double relative, double absolute) {
    REQUIRE(got.size() == want.size());
    size_t worst = 0;
    double worst_excess = -1;
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = std::abs(static_cast<double>(got[i]) - want[i]);
        const double excess = error / (relative * std::abs(want[i]) + absolute);
        if (!(excess <= worst_excess)) {
            worst = i;
            worst_excess = excess;
        }
        if (std::isnan(worst_excess)) break;
    }
    if (got.empty()) return;
    INFO("element " << worst << " of " << got.size() << ": got " << got[worst] << ", want " << want[worst]);
    CHECK(worst_excess <= 1.0);
}

Doubles numeric_gradient(const std::function<double(const Doubles&)>& loss, Doubles x, double step) {
    Doubles gradient(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
        const double centre = x[i];
        x[i] = centre + step;
        const double above = loss(x);
        x[i] = centre - step;
        const double below = loss(x);
        x[i] = centre;
        gradient[i] = (above - below) / (2 * step);
    }
    return gradient;
}

double dot(const Doubles& a, const Doubles& b) {
    REQUIRE(a.size() == b.size());
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

}  // namespace templar::test
