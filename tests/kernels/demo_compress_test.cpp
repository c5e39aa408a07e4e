#include "base/random.h"
#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

using namespace templar;

namespace {

// The four sections of one tensor, each with guard bytes behind it.
struct Sections {
    static constexpr size_t guard = 8;
    std::vector<uint8_t> base_exponent, scales, codes, indices;
    CodeFormat format;

    Sections(const ChunkGrid& grid, int32_t k, int32_t code_bits) {
        format = {std::min(k, grid.chunk_size()), code_bits,
                  static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(grid.chunk_size() - 1)))};
        const int64_t values = grid.chunks() * format.k;
        base_exponent.assign(2 + guard, 0xee);
        scales.assign(grid.chunks() + guard, 0xee);
        codes.assign(packed_bytes(values, code_bits) + guard, 0xee);
        indices.assign(packed_bytes(values, format.index_bits) + guard, 0xee);
    }
    SparseOut out() { return {base_exponent.data(), scales.data(), codes.data(), indices.data(), format}; }
    bool operator==(const Sections& other) const {
        return base_exponent == other.base_exponent && scales == other.scales && codes == other.codes &&
               indices == other.indices;
    }
    int exponent() const { return static_cast<int16_t>(base_exponent[0] | base_exponent[1] << 8); }
};

void put_bits(std::vector<uint8_t>& section, int64_t position, int bits, uint32_t field) {
    for (int bit = 0; bit < bits; ++bit) {
        const int64_t at = position * bits + bit;
        if (field >> bit & 1) section[at / 8] |= static_cast<uint8_t>(1 << at % 8);
    }
}

// §5.1 word for word: scales are found by trying all of them from the smallest.
Sections plain_compress(std::vector<float>& momentum, const ChunkGrid& grid, int32_t k_wanted,
                        int code_bits) {
    Sections out(grid, k_wanted, code_bits);
    std::fill(out.codes.begin(), out.codes.end() - Sections::guard, 0);
    std::fill(out.indices.begin(), out.indices.end() - Sections::guard, 0);
    const int k = out.format.k, size = grid.chunk_size(), q_max = (1 << (code_bits - 1)) - 1;
    const auto clips = [&](double largest, double s) { return std::floor(largest / s) > q_max; };

    double tensor_largest = 0;
    for (float value : momentum)
        tensor_largest = std::max(tensor_largest, static_cast<double>(std::abs(value)));
    int base = 0;
    if (tensor_largest > 0)
        for (base = -200; clips(tensor_largest, std::ldexp(15.0, base + 31));) ++base;
    out.base_exponent[0] = static_cast<uint8_t>(base);
    out.base_exponent[1] = static_cast<uint8_t>(base >> 8);

    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        float* values = momentum.data() + chunk * size;
        std::vector<int> order(size);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](int a, int b) { return std::abs(values[a]) > std::abs(values[b]); });
        const double largest = std::abs(values[order[0]]);
        order.resize(k);
        std::sort(order.begin(), order.end());
        int byte = 0;
        double s = 0;
        if (largest > 0) do {
                ++byte;
                s = std::ldexp(8 + (byte & 7), base + (byte >> 3));
            } while (clips(largest, s));
        out.scales[chunk] = static_cast<uint8_t>(byte);
        for (int i = 0; i < k; ++i) {
            put_bits(out.indices, chunk * k + i, out.format.index_bits, order[i]);
            if (byte == 0) continue;
            float& value = values[order[i]];
            const int q = static_cast<int>(std::clamp(std::floor(std::abs(value) / s), 0.0, 1.0 * q_max));
            const int sign = value < 0 ? -1 : 1;
            put_bits(out.codes, chunk * k + i, code_bits, static_cast<uint32_t>(q << 1 | (sign < 0)));
            value -= static_cast<float>(sign * (2 * q + 1) * s / 2);
        }
    }
    return out;
}

void run(const Ops& ops, int threads, Sections& out, std::vector<float>& momentum,
         const std::vector<float>& grad, const ChunkGrid& grid, DemoStep step) {
    Stream stream{threads};
    ops.demo_compress(stream, out.out(), Tensor(momentum.data(), {grid.chunks(), grid.chunk_size()}),
                      Tensor(grad.data(), {grid.rows, grid.cols}), grid, step);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const std::vector<ChunkGrid> grids = {
    {192, 192, 64, 64}, {96, 80, 48, 40}, {58, 150, 29, 50}, {35, 33, 7, 11}, {1, 640, 1, 64},
    {1, 67, 1, 1},      {67, 3, 1, 3},    {18, 12, 2, 2},    {1, 1, 1, 1},
};

using Fill = void (*)(std::vector<float>&, const ChunkGrid&, CounterRng&);

void fill_normal(std::vector<float>& e, const ChunkGrid&, CounterRng& rng) {
    for (float& value : e) value = static_cast<float>(rng.normal());
}
// Few distinct magnitudes, both signs, zeros of both signs: ties everywhere.
void fill_ties(std::vector<float>& e, const ChunkGrid&, CounterRng& rng) {
    for (float& value : e)
        value = static_cast<float>(static_cast<int>(rng.below(7)) - 3) * (rng.below(2) ? 1.0f : -1.0f);
}
// Every chunk at its own size, over more than the 2^31 that scale bytes can tell apart; some zero.
void fill_sizes(std::vector<float>& e, const ChunkGrid& grid, CounterRng& rng) {
    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        const int exponent = -static_cast<int>(rng.below(40));
        const bool zero = rng.below(5) == 0;
        for (int i = 0; i < grid.chunk_size(); ++i)
            e[chunk * grid.chunk_size() + i] =
                zero ? -0.0f : static_cast<float>(std::ldexp(rng.normal(), exponent));
    }
}
// The largest value 1, and chunks about 2^31 below it whose smallest scale would be the reserved byte 0.
void fill_below_range(std::vector<float>& e, const ChunkGrid& grid, CounterRng& rng) {
    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        float* values = e.data() + chunk * grid.chunk_size();
        const float largest = chunk == 0 ? 1.0f : std::ldexp(15.5f, -33 - static_cast<int>(chunk % 4));
        for (int i = 0; i < grid.chunk_size(); ++i)
            values[i] = largest * static_cast<float>(rng.uniform() * 2 - 1);
        values[0] = largest;
    }
}
// All that is large shares one residue of the index modulo 64, where group peaks bound least.
void fill_one_column(std::vector<float>& e, const ChunkGrid& grid, CounterRng& rng) {
    for (size_t i = 0; i < e.size(); ++i)
        e[i] = static_cast<float>(rng.normal() *
                                  (i % static_cast<size_t>(grid.chunk_size()) % 64 == 3 ? 1000 : 1));
}
// Less than k values that are not zero.
void fill_sparse(std::vector<float>& e, const ChunkGrid&, CounterRng& rng) {
    for (float& value : e) value = rng.below(200) == 0 ? static_cast<float>(rng.normal()) : 0.0f;
}
// Powers of two and their neighbours: the edges between scales and between codes.
void fill_powers(std::vector<float>& e, const ChunkGrid&, CounterRng& rng) {
    for (float& value : e) {
        value = std::ldexp(static_cast<float>(8 + rng.below(8)), static_cast<int>(rng.below(12)) - 6);
        if (rng.below(3) == 0) value = std::nextafter(value, 0.0f);
        if (rng.below(3) == 0) value = -value;
    }
}
void fill_denormal(std::vector<float>& e, const ChunkGrid&, CounterRng& rng) {
    for (float& value : e) value = std::bit_cast<float>(static_cast<uint32_t>(rng.below(1 << 12)));
}
void fill_huge(std::vector<float>& e, const ChunkGrid&, CounterRng& rng) {
    for (float& value : e)
        value = std::numeric_limits<float>::max() * static_cast<float>(rng.uniform() * 2 - 1);
    e[0] = std::numeric_limits<float>::max();
}
void fill_zero(std::vector<float>& e, const ChunkGrid&, CounterRng&) {
    std::fill(e.begin(), e.end(), 0.0f);
}

}  // namespace

TEST_CASE("demo_compress codes a given momentum as the specification says, bit for bit") {
    const std::vector<Fill> fills = {fill_normal,     fill_ties,   fill_sizes,  fill_below_range,
                                     fill_one_column, fill_sparse, fill_powers, fill_denormal,
                                     fill_huge,       fill_zero};
    for (size_t kind = 0; kind < fills.size(); ++kind)
        for (const ChunkGrid& grid : grids)
            for (auto [k, code_bits] :
                 {std::pair{32, 8}, {32, 1}, {3, 4}, {5, 2}, {1, 8}, {100, 4}, {4096, 8}}) {
                CounterRng rng(sha256(as_bytes("momentum")));
                std::vector<float> momentum(grid.rows * grid.cols), zero(momentum.size());
                fills[kind](momentum, grid, rng);
                std::vector<float> expected = momentum;
                const Sections wanted = plain_compress(expected, grid, k, code_bits);
                for (const auto& [isa, ops] : test::tables()) {
                    CAPTURE(isa);
                    CAPTURE(kind);
                    CAPTURE(grid.edge_rows);
                    CAPTURE(grid.edge_cols);
                    CAPTURE(k);
                    CAPTURE(code_bits);
                    std::vector<float> left = momentum;
                    Sections found(grid, k, code_bits);
                    run(*ops, 2, found, left, zero, grid, {1, 1});
                    CHECK(found.exponent() == wanted.exponent());
                    CHECK(found.scales == wanted.scales);
                    CHECK(found.indices == wanted.indices);
                    CHECK(found.codes == wanted.codes);
                    // Only the sign of zeros that were not sent may differ: 1·(-0) + 1·0 = +0.
                    CHECK(left == expected);
                }
            }
}

TEST_CASE("demo_compress adds the gradient's DCT to the decayed momentum") {
    for (const auto& [isa, ops] : test::tables())
        for (const ChunkGrid& grid : grids) {
            CAPTURE(isa);
            CAPTURE(grid.edge_rows);
            CAPTURE(grid.edge_cols);
            CounterRng rng(sha256(as_bytes("update")));
            std::vector<float> momentum(grid.rows * grid.cols), grad(momentum.size()), coef(momentum.size());
            fill_normal(momentum, grid, rng);
            fill_normal(grad, grid, rng);
            Stream stream{1};
            ops->dct_encode(stream, Tensor(coef.data(), {grid.chunks(), grid.chunk_size()}),
                            Tensor(grad.data(), {grid.rows, grid.cols}), grid);
            std::vector<float> updated(momentum.size());
            for (size_t i = 0; i < updated.size(); ++i) updated[i] = 0.75f * momentum[i] + 0.5f * coef[i];

            // What was sent and what is left add up to the updated momentum.
            Sections out(grid, 2, 8);
            run(*ops, 1, out, momentum, grad, grid, {0.75f, 0.5f});
            const auto [k, code_bits, index_bits] = out.format;
            for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
                const int byte = out.scales[chunk];
                REQUIRE(byte != 0);
                const double s = std::ldexp(8 + (byte & 7), out.exponent() + (byte >> 3));
                for (int i = 0; i < k; ++i) {
                    const uint32_t index = packed_field(out.indices.data(), chunk * k + i, index_bits);
                    const uint32_t code = packed_field(out.codes.data(), chunk * k + i, code_bits);
                    const double sign = code & 1 ? -1 : 1;
                    momentum[chunk * grid.chunk_size() + index] +=
                        static_cast<float>(sign * (2 * (code >> 1) + 1) * s / 2);
                }
            }
            double worst = 0;
            for (size_t i = 0; i < updated.size(); ++i)
                worst = std::max(worst, static_cast<double>(std::abs(updated[i] - momentum[i])));
            CHECK(worst < 2e-6);
        }
}

TEST_CASE("demo_compress does not depend on the number of threads") {
    for (const auto& [isa, ops] : test::tables())
        for (const ChunkGrid& grid : grids)
            for (int code_bits : {8, 1}) {
                CAPTURE(isa);
                CAPTURE(grid.edge_cols);
                CounterRng rng(sha256(as_bytes("threads")));
                std::vector<float> momentum(grid.rows * grid.cols), grad(momentum.size());
                fill_normal(momentum, grid, rng);
                fill_normal(grad, grid, rng);
                std::vector<float> first = momentum;
                Sections alone(grid, 3, code_bits);
                run(*ops, 1, alone, first, grad, grid, {0.9f, 0.1f});
                for (int threads : {2, 3}) {
                    std::vector<float> left = momentum;
                    Sections shared(grid, 3, code_bits);
                    run(*ops, threads, shared, left, grad, grid, {0.9f, 0.1f});
                    CHECK(shared == alone);
                    CHECK(same_bits(left, first));
                }
            }
}

TEST_CASE("demo_compress stays inside its sections when the gradient is not finite") {
    const ChunkGrid grid{96, 80, 48, 40};
    for (const auto& [isa, ops] : test::tables())
        for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
            for (bool everywhere : {false, true}) {
                std::vector<float> momentum(grid.rows * grid.cols, 1.0f),
                    grad(momentum.size(), everywhere ? bad : 0.5f);
                grad[100] = bad;
                Sections out(grid, 16, 8);
                run(*ops, 2, out, momentum, grad, grid, {0.9f, 0.1f});
                for (const auto* section : {&out.base_exponent, &out.scales, &out.codes, &out.indices})
                    for (size_t i = section->size() - Sections::guard; i < section->size(); ++i)
                        CHECK((*section)[i] == 0xee);
            }
}
