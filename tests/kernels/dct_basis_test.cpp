#include "kernels/dct_basis.h"

#include "base/error.h"
#include "base/exact_cos.h"
#include "base/sha256.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <numbers>

using namespace templar;

namespace {

// a_b·cos(pi·(2j + 1)·b/(2n)) by libm in the 64-bit mantissa of x86's long double, from a reduced angle.
long double true_entry(int n, int j, int b) {
    const int m = (2 * j + 1) * b % (4 * n);
    const long double scale = std::sqrt((b == 0 ? 1.0L : 2.0L) / n);
    return scale * std::cos(std::numbers::pi_v<long double> * m / (2 * n));
}

}  // namespace

TEST_CASE("exact_cos_pi agrees with long double cosine within 3 ulp") {
    for (int d = 1; d <= 300; ++d)
        for (int n = -2 * d; n <= 4 * d; ++n) {
            if (2 * n % d == 0 && 2 * n / d % 2 != 0) {  // odd multiples of pi/2
                CHECK(exact_cos_pi(n, d) == 0.0);
                continue;
            }
            const int reduced = ((n % (2 * d)) + 2 * d) % (2 * d);
            const long double expected = std::cos(std::numbers::pi_v<long double> * reduced / d);
            const double ulp = std::nextafter(std::fabs(double(expected)), 2.0) - std::fabs(double(expected));
            REQUIRE(std::fabs(exact_cos_pi(n, d) - expected) <= 3 * ulp + 1e-19L);
        }
    CHECK(exact_cos_pi(0, 7) == 1.0);
    CHECK(exact_cos_pi(7, 7) == -1.0);
    CHECK(exact_cos_pi(INT64_MAX, 1) == -1.0);
    CHECK(exact_cos_pi(INT64_MIN, int64_t{1} << 51) == 1.0);
    CHECK_THROWS_AS(exact_cos_pi(1, 0), Error);
    CHECK_THROWS_AS(exact_cos_pi(1, (int64_t{1} << 51) + 1), Error);
}

TEST_CASE("basis entries are the correctly rounded values, none near a rounding boundary") {
    double nearest = 1.0;  // distance to the closest midpoint of two floats, relative to the entry
    for (int n = 1; n <= max_chunk_edge; ++n) {
        const float* basis = dct_basis(n);
        for (int j = 0; j < n; ++j)
            for (int b = 0; b < n; ++b) {
                const float entry = basis[j * n + b];
                const long double expected = true_entry(n, j, b);
                if ((2 * j + 1) * b % (2 * n) == n) {  // cos(pi/2), cos(3·pi/2)
                    REQUIRE(entry == 0.0f);
                    continue;
                }
                REQUIRE(entry == static_cast<float>(expected));
                for (float toward : {-8.0f, 8.0f}) {
                    const long double middle =
                        (static_cast<long double>(entry) + std::nextafter(entry, toward)) / 2;
                    nearest =
                        std::min(nearest, static_cast<double>(std::fabs((expected - middle) / expected)));
                }
            }
    }
    // Entries are computed to about 2^-51; a thousand times that is no doubt.
    CHECK(nearest > 0x1p-42);
}

TEST_CASE("the basis is orthonormal") {
    for (int n : {1, 2, 3, 17, 60, 64}) {
        const float* basis = dct_basis(n);
        for (int b = 0; b < n; ++b)
            for (int c = 0; c < n; ++c) {
                double sum = 0;
                for (int j = 0; j < n; ++j) sum += double(basis[j * n + b]) * basis[j * n + c];
                REQUIRE(std::fabs(sum - (b == c)) < 1e-6);
            }
    }
}

TEST_CASE("all 64 tables have the pinned bits") {
    Sha256 hash;
    for (int n = 1; n <= max_chunk_edge; ++n)
        for (int i = 0; i < n * n; ++i) hash.update_le(std::bit_cast<uint32_t>(dct_basis(n)[i]));
    CHECK(to_hex(hash.finish()) == "9d934f672003d9824637b6b155d86e8d09431e5b69a9b0e6af44c4e2783b6bd9");
}

TEST_CASE("edges outside 1…64 are refused") {
    CHECK_THROWS_AS(dct_basis(0), Error);
    CHECK_THROWS_AS(dct_basis(65), Error);
    CHECK(dct_basis(1)[0] == 1.0f);
}
