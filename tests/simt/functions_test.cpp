// Every device function of the emulator against its definition in the CUDA C++ Programming Guide.
#include "simt.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

namespace {

// Runs `body` for every thread of one block, in three orders.
using Body = std::function<void(int thread)>;
void call_body(const Body* body) { (*body)(static_cast<int>(threadIdx.x)); }
void for_each_thread(int threads, const Body& body) {
    for (simt::Schedule schedule : {simt::Schedule::fifo, simt::Schedule::reversed, simt::Schedule::random}) {
        simt::schedule = schedule;
        simt::launch("body", 1, static_cast<unsigned>(threads), 0, call_body, &body);
    }
    simt::schedule = simt::Schedule::fifo;
}

}  // namespace

// ---- Warp functions -------------------------------------------------------------------------------------------------

TEST_CASE("shuffles, for every width and distance") {
    const auto value_of = [](int lane) { return 100 + lane; };
    for_each_thread(32, [&](int lane) {
        for (int width : {1, 2, 4, 8, 16, 32}) {
            const int first = lane / width * width, end = first + width;
            for (int by = 0; by < 32; ++by) {
                const int value = value_of(lane);
                CHECK(__shfl_sync(~0u, value, by, width) == value_of(first + by % width));
                CHECK(__shfl_up_sync(~0u, value, by, width) == value_of(lane - by >= first ? lane - by : lane));
                CHECK(__shfl_down_sync(~0u, value, by, width) == value_of(lane + by < end ? lane + by : lane));
                CHECK(__shfl_xor_sync(~0u, value, by, width) == value_of((lane ^ by) < end ? lane ^ by : lane));
            }
        }
    });
}

TEST_CASE("shuffles of every type") {
    for_each_thread(64, [](int t) {
        const int next = t / 32 * 32 + (t + 1) % 32;
        const auto check = [&](auto of) { CHECK(__shfl_sync(~0u, of(t), t + 1) == of(next)); };
        check([](int i) { return 1.5f + static_cast<float>(i); });
        check([](int i) { return 0.1 + i; });
        check([](int i) { return (int64_t{1} << 40) + i; });
        check([](int i) { return ~0ull - static_cast<unsigned>(i); });
        check([](int i) { return __nv_bfloat16(static_cast<float>(i)); });
        CHECK(__shfl_sync(~0u, __floats2bfloat162_rn(static_cast<float>(t), 2), t + 1).x == static_cast<float>(next));
    });
}

TEST_CASE("groups of lanes work apart, each with its mask") {
    // Five lanes; of the others 14 odd and 13 even ones, which meet less often.
    const auto group = [](int lane) { return lane < 5 ? 0x1fu : lane % 2 ? 0xaaaaaaa0u : 0x55555540u; };
    for_each_thread(32, [&](int lane) {
        const unsigned mask = group(lane);
        CHECK((mask >> lane & 1u) == 1u);
        for (int round = 0; round < 3 + std::popcount(mask) % 4; ++round) {
            CHECK(__shfl_sync(mask, lane, std::countr_zero(mask)) == std::countr_zero(mask));
            CHECK(__ballot_sync(mask, lane % 4 < 2) == (0x33333333u & mask));
            CHECK(__reduce_max_sync(mask, lane) == 31 - std::countl_zero(mask));
        }
        // A lane outside of the mask: all bits one.
        CHECK(__shfl_sync(mask, lane, std::countr_zero(~mask)) == -1);
        CHECK(std::isnan(__shfl_sync(mask, 1.0f, std::countr_zero(~mask))));
    });
}

TEST_CASE("a warp that is not full") {
    for_each_thread(32 + 7, [](int t) {
        const unsigned mask = t < 32 ? ~0u : 0x7fu;
        CHECK(__reduce_add_sync(mask, 1) == (t < 32 ? 32 : 7));
        __syncwarp(mask);
        CHECK(__ballot_sync(mask, 1) == mask);
    });
}

TEST_CASE("votes and reductions") {
    for_each_thread(32, [](int lane) {
        CHECK(__ballot_sync(~0u, lane % 3) == 0xb6db6db6u);
        CHECK(__any_sync(~0u, lane == 31) == 1);
        CHECK(__any_sync(~0u, 0) == 0);
        CHECK(__all_sync(~0u, lane + 1) == 1);
        CHECK(__all_sync(~0u, lane) == 0);
        CHECK(__match_any_sync(~0u, lane % 2) == (lane % 2 ? 0xaaaaaaaau : 0x55555555u));
        CHECK(__reduce_add_sync(~0u, lane) == 496);
        CHECK(__reduce_add_sync(~0u, 0x80000000u + static_cast<unsigned>(lane)) == 496u);
        CHECK(__reduce_add_sync(~0u, lane == 0 ? std::numeric_limits<int>::max() : 1) ==
              std::numeric_limits<int>::min() + 30);
        CHECK(__reduce_min_sync(~0u, lane - 5) == -5);
        CHECK(__reduce_max_sync(~0u, lane - 50) == -19);
        CHECK(__reduce_max_sync(~0u, static_cast<unsigned>(lane - 5)) == ~0u);
        CHECK(__reduce_min_sync(~0u, static_cast<unsigned>(lane - 5)) == 0u);
        CHECK(__reduce_or_sync(~0u, 1u << lane) == ~0u);
        CHECK(__reduce_and_sync(~0u, ~(1u << lane)) == 0u);
        CHECK(__reduce_xor_sync(~0u, lane < 3 ? 5u : 0u) == 5u);
    });
}

TEST_CASE("what PTX wrappers are made of: all lanes' values, and work done once") {
    struct Wide {
        int values[16];
    };
    for_each_thread(64, [](int t) {
        Wide mine;
        for (int i = 0; i < 16; ++i) mine.values[i] = 1000 * t + i;
        for (int round = 0; round < 3; ++round) {
            const Wide* lanes = simt::gather(~0u, mine);
            for (int lane = 0; lane < 32; ++lane)
                CHECK(lanes[lane].values[round] == 1000 * (t / 32 * 32 + lane) + round);
        }
        const auto transpose = [](const Wide* in, Wide* out) {
            for (int lane = 0; lane < 32; ++lane)
                for (int i = 0; i < 16; ++i) out[lane].values[i] = in[i].values[lane % 16];
        };
        const Wide column = simt::compute_once<Wide>(~0u, mine, transpose);
        for (int i = 0; i < 16; ++i) CHECK(column.values[i] == 1000 * (t / 32 * 32 + i) + t % 16);
    });
}

// ---- Atomics --------------------------------------------------------------------------------------------------------

namespace {

template <class T>
struct Counters {
    T sum, most, least, all_bits, common_bits, toggled, last, claimed;
};

template <class T>
void use_atomics(Counters<T>* c) {
    const T mine = static_cast<T>(blockIdx.x * blockDim.x + threadIdx.x);
    atomicAdd(&c->sum, mine);
    atomicMax(&c->most, mine);
    atomicMin(&c->least, mine);
    atomicOr(&c->all_bits, mine);
    atomicAnd(&c->common_bits, static_cast<T>(mine | 64));
    atomicXor(&c->toggled, mine);
    atomicExch(&c->last, mine);
    atomicCAS(&c->claimed, T(7), mine);
}

void use_counters(unsigned* up, unsigned* down, unsigned* minus) {
    CHECK(atomicInc(up, 9) <= 9);
    CHECK(atomicDec(down, 9) <= 9);
    atomicSub(minus, 2u);
}

template <class T>
void check_atomics() {
    for (simt::Schedule schedule : {simt::Schedule::fifo, simt::Schedule::reversed, simt::Schedule::random}) {
        simt::schedule = schedule;
        Counters<T> c{0, 0, 1000, 0, static_cast<T>(~T(0)), 0, 5000, 7};
        simt::launch("use_atomics", 10, 50, 0, use_atomics<T>, &c);
        CHECK(c.sum == 499 * 250);
        CHECK(c.most == 499);
        CHECK(c.least == 0);
        CHECK(c.all_bits == 511);
        CHECK(c.common_bits == 64);
        CHECK(c.toggled == 0);  // 0 ^ 1 ^ … ^ 499, 499 % 4 == 3
        CHECK(c.last < 500);
        CHECK(c.claimed < 500);
    }
    simt::schedule = simt::Schedule::fifo;
}

}  // namespace

TEST_CASE("atomics are atomic between blocks") {
    check_atomics<int>();
    check_atomics<unsigned>();
    check_atomics<unsigned long long>();
    unsigned up = 0, down = 0, minus = 2000;
    simt::launch("use_counters", 10, 50, 0, use_counters, &up, &down, &minus);
    CHECK(up == 500 % 10);
    CHECK(down == 0);
    CHECK(minus == 1000);
}

TEST_CASE("atomics return the old value") {
    int i = 5;
    CHECK(atomicAdd(&i, 3) == 5);
    CHECK(atomicMax(&i, 2) == 8);
    CHECK(atomicMin(&i, -2) == 8);
    CHECK(atomicExch(&i, 4) == -2);
    CHECK(atomicCAS(&i, 3, 9) == 4);
    CHECK(atomicCAS(&i, 4, 9) == 4);
    CHECK(i == 9);
    unsigned u = 3;
    CHECK(atomicInc(&u, 3u) == 3u);
    CHECK(u == 0u);
    CHECK(atomicDec(&u, 6u) == 0u);
    CHECK(u == 6u);
}

TEST_CASE("loads and stores with hints move what they are given") {
    const float4 value = make_float4(1, 2, 3, 4);
    float4 to{};
    const auto check = [&](auto load, auto store) {
        to = {};
        store(&to, load(&value));
        CHECK((to.x == 1 && to.y == 2 && to.z == 3 && to.w == 4));
    };
    check([](auto* p) { return __ldg(p); }, [](auto* p, float4 v) { __stwt(p, v); });
    check([](auto* p) { return __ldcs(p); }, [](auto* p, float4 v) { __stcs(p, v); });
    check([](auto* p) { return __ldcg(p); }, [](auto* p, float4 v) { __stcg(p, v); });
    check([](auto* p) { return __ldca(p); }, [](auto* p, float4 v) { __stwb(p, v); });
    check([](auto* p) { return __ldlu(p); }, [](auto* p, float4 v) { *p = v; });
    check([](auto* p) { return __ldcv(p); }, [](auto* p, float4 v) { *p = v; });
}

// ---- Bits -----------------------------------------------------------------------------------------------------------

TEST_CASE("bit functions, bit by bit") {
    std::mt19937 random(1);
    for (int round = 0; round < 2000; ++round) {
        const unsigned a = round < 4 ? 0u - static_cast<unsigned>(round % 2) : random() >> random() % 32;
        const unsigned b = random(), shift = random() % 70, selector = random();
        const auto bit = [](uint64_t x, unsigned i) { return static_cast<unsigned>(x >> i & 1u); };
        int ones = 0, leading = 32, first = 0;
        unsigned reversed = 0;
        for (unsigned i = 0; i < 32; ++i) {
            ones += static_cast<int>(bit(a, i));
            if (bit(a, i)) leading = static_cast<int>(31 - i);
            if (bit(a, i) && first == 0) first = static_cast<int>(i + 1);
            reversed |= bit(a, i) << (31 - i);
        }
        CHECK(__popc(a) == ones);
        CHECK(__clz(static_cast<int>(a)) == leading);
        CHECK(__ffs(static_cast<int>(a)) == first);
        CHECK(__brev(a) == reversed);
        const uint64_t wide = uint64_t{b} << 32 | a;
        CHECK(__popcll(wide) == ones + __popc(b));
        CHECK(__clzll(static_cast<long long>(wide)) == (b ? __clz(static_cast<int>(b)) : 32 + leading));
        CHECK(__ffsll(static_cast<long long>(wide)) == (a ? first : b ? 32 + __ffs(static_cast<int>(b)) : 0));
        CHECK(__brevll(wide) == (uint64_t{reversed} << 32 | __brev(b)));

        unsigned left = 0, right = 0, left_clamped = 0, right_clamped = 0;
        for (unsigned i = 0; i < 32; ++i) {
            left |= bit(wide, i + 32 - shift % 32) << i;
            right |= bit(wide, i + shift % 32) << i;
            left_clamped |= bit(wide, i + 32 - std::min(shift, 32u)) << i;
            right_clamped |= bit(wide, i + std::min(shift, 32u)) << i;
        }
        CHECK(__funnelshift_l(a, b, shift) == left);
        CHECK(__funnelshift_r(a, b, shift) == right);
        CHECK(__funnelshift_lc(a, b, shift) == left_clamped);
        CHECK(__funnelshift_rc(a, b, shift) == right_clamped);

        const std::array<unsigned, 8> bytes{a & 255, a >> 8 & 255, a >> 16 & 255, a >> 24,
                                            b & 255, b >> 8 & 255, b >> 16 & 255, b >> 24};
        CHECK(__byte_perm(a, b, selector) == (bytes[selector & 7] | bytes[selector >> 4 & 7] << 8 |
                                              bytes[selector >> 8 & 7] << 16 | bytes[selector >> 12 & 7] << 24));
        CHECK(__umulhi(a, b) == static_cast<unsigned>(uint64_t{a} * b / 4294967296u));
        // The upper half of a 64-bit product from four 32-bit ones.
        const uint64_t x = wide, y = uint64_t{random()} << 32 | random();
        const uint64_t low = (x & ~0u) * (y & ~0u), m1 = (x >> 32) * (y & ~0u) + (low >> 32),
                       m2 = (x & ~0u) * (y >> 32) + (m1 & ~0u);
        CHECK(__umul64hi(x, y) == (x >> 32) * (y >> 32) + (m1 >> 32) + (m2 >> 32));
    }
    CHECK(__mulhi(-3, 5) == -1);
    CHECK(__mulhi(1 << 30, 16) == 4);
}

TEST_CASE("numbers seen as bits") {
    CHECK(__float_as_uint(1.0f) == 0x3f800000u);
    CHECK(__float_as_int(-0.0f) == std::numeric_limits<int>::min());
    CHECK(__uint_as_float(0x40490fdbu) == 3.14159274f);
    CHECK(__int_as_float(0x3f800000) == 1.0f);
    CHECK(__double_as_longlong(1.0) == 0x3ff0000000000000ll);
    CHECK(__longlong_as_double(0x4000000000000000ll) == 2.0);
}

// ---- Arithmetic -----------------------------------------------------------------------------------------------------

TEST_CASE("each _rn function rounds its exact result once") {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    // Two roundings are as good as one: double has more than twice the bits.
    const auto rounded = [](double exact) { return static_cast<float>(exact); };
    for (int round = 0; round < 2000; ++round) {
        const float a = normal(random), b = normal(random), c = normal(random);
        CHECK(__fadd_rn(a, b) == rounded(double{a} + b));
        CHECK(__fsub_rn(a, b) == rounded(double{a} - b));
        CHECK(__fmul_rn(a, b) == rounded(double{a} * b));
        CHECK(__fdiv_rn(a, b) == rounded(double{a} / b));
        CHECK(__frcp_rn(a) == rounded(1.0 / a));
        CHECK(__fsqrt_rn(std::abs(a)) == rounded(std::sqrt(double{std::abs(a)})));
        CHECK(__fmaf_rn(a, b, c) == static_cast<float>(static_cast<long double>(a) * b + c));
        CHECK(__fadd_rn(__fmul_rn(a, b), c) == rounded(double{rounded(double{a} * b)} + c));
    }
    // Fused, the error of the product survives.
    const float up = 1 + 0x1p-12f;
    CHECK(__fmaf_rn(up, up, -(up * up)) == 0x1p-24f);
    const double wide = 1 + 0x1p-30;
    CHECK(__fma_rn(wide, wide, -__dmul_rn(wide, wide)) == 0x1p-60);
    CHECK(__dadd_rn(1, 0x1p-53) == 1);
    CHECK(__dsub_rn(3, 1) == 2);
    CHECK(__ddiv_rn(1, 3) == 1.0 / 3);
    CHECK(__drcp_rn(4) == 0.25);
    CHECK(__dsqrt_rn(2) == std::sqrt(2.0));
}

TEST_CASE("functions that a GPU approximates") {
    for (float x : {-20.0f, -1.0f, 0.0f, 0.3f, 1.0f, 7.0f}) {
        CHECK(__expf(x) == doctest::Approx(std::exp(double{x})));
        CHECK(exp2f(x) == doctest::Approx(std::exp2(double{x})));
        CHECK(__sinf(x) == doctest::Approx(std::sin(double{x})));
        CHECK(__cosf(x) == doctest::Approx(std::cos(double{x})));
        if (x <= 0) continue;
        CHECK(__logf(x) == doctest::Approx(std::log(double{x})));
        CHECK(__log2f(x) == doctest::Approx(std::log2(double{x})));
        CHECK(__powf(x, 1.5f) == doctest::Approx(std::pow(double{x}, 1.5)));
        CHECK(rsqrtf(x) == doctest::Approx(1 / std::sqrt(double{x})));
        CHECK(rsqrt(double{x}) == doctest::Approx(1 / std::sqrt(double{x})));
        CHECK(__fdividef(x, 3) == doctest::Approx(x / 3.0));
    }
    CHECK(__saturatef(-1) == 0);
    CHECK(__saturatef(0.25f) == 0.25f);
    CHECK(__saturatef(5) == 1);
    CHECK(__saturatef(NAN) == 0);
}

TEST_CASE("min and max of two of a type; a NaN loses") {
    CHECK(min(-1, 1) == -1);
    CHECK(max(1u, ~0u) == ~0u);
    CHECK(min(int64_t{1} << 40, int64_t{3}) == 3);
    CHECK(max(uint64_t{1} << 40, uint64_t{3}) == uint64_t{1} << 40);
    CHECK(max(1ll, 2ll) == 2);
    CHECK(min(1ull, 2ull) == 1);
    CHECK(max(NAN, 2.0f) == 2.0f);
    CHECK(min(2.0, static_cast<double>(NAN)) == 2.0);
    CHECK(fmaxf(1, NAN) == 1);
}

TEST_CASE("conversions round as named and saturate") {
    constexpr int most = std::numeric_limits<int>::max(), least = std::numeric_limits<int>::min();
    CHECK(__float2int_rn(2.5f) == 2);
    CHECK(__float2int_rn(3.5f) == 4);
    CHECK(__float2int_rn(-2.5f) == -2);
    CHECK(__float2int_rd(-2.1f) == -3);
    CHECK(__float2int_ru(-2.9f) == -2);
    CHECK(__float2int_rz(-2.9f) == -2);
    CHECK(__float2int_rn(3e9f) == most);
    CHECK(__float2int_rn(-3e9f) == least);
    CHECK(__float2int_rn(2147483520.0f) == 2147483520);
    CHECK(__float2int_rn(INFINITY) == most);
    CHECK(__float2int_rn(NAN) == 0);
    CHECK(__float2uint_rn(-1) == 0u);
    CHECK(__float2uint_rn(5e9f) == ~0u);
    CHECK(__float2uint_rz(1.9f) == 1u);
    CHECK(__double2int_rn(2147483646.5) == 2147483646);
    CHECK(__double2int_rn(1e10) == most);
    CHECK(__double2ll_rn(0x1p62 + 1024) == (1ll << 62) + 1024);
    CHECK(__double2ll_rn(4503599627370497.5) == 4503599627370498);
    CHECK(__double2ll_rn(1e300) == std::numeric_limits<long long>::max());
    CHECK(__double2ll_rn(-1e300) == std::numeric_limits<long long>::min());
    CHECK(__double2ll_rn(static_cast<double>(NAN)) == std::numeric_limits<long long>::min());
    CHECK(__double2ll_rz(-1.9) == -1);
    CHECK(__float2ll_rn(0x1p40f) == 1ll << 40);
    CHECK(__double2float_rn(1 + 0x1p-25) == 1.0f);
    CHECK(__int2float_rn(16777217) == 16777216.0f);
    CHECK(__uint2float_rn(~0u) == 4294967296.0f);
    CHECK(__ll2float_rn(1ll << 40) == 0x1p40f);
    CHECK(__ull2float_rn(~0ull) == 0x1p64f);
    CHECK(__int2double_rn(-7) == -7.0);
    CHECK(__uint2double_rn(~0u) == 4294967295.0);
    CHECK(__ll2double_rn((1ll << 53) + 1) == 0x1p53);
    CHECK(__ull2double_rn(~0ull) == 0x1p64);
}
