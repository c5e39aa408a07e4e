// Vectors as wide as the instruction set, and the one transcendental function that inner loops need.
#pragma once

#include <cstdint>

namespace templar::TEMPLAR_ISA {

#if defined(__AVX512F__)
constexpr int64_t lanes = 16;
#elif defined(__AVX2__)
constexpr int64_t lanes = 8;
#else
constexpr int64_t lanes = 4;
#endif

typedef float FloatVector __attribute__((vector_size(lanes * 4)));
typedef int32_t IntVector __attribute__((vector_size(lanes * 4)));
typedef float UnalignedVector __attribute__((vector_size(lanes * 4), aligned(4), may_alias));

inline FloatVector load(const float* p) {
    return *reinterpret_cast<const UnalignedVector*>(p);
}
inline void store(float* p, FloatVector v) {
    *reinterpret_cast<UnalignedVector*>(p) = v;
}
inline FloatVector broadcast(float x) {
    return x - FloatVector{};
}
inline FloatVector larger(FloatVector a, FloatVector b) {
    return a > b ? a : b;
}

// e^x within 1.2 units in the last place, for floats and vectors of them: 2^n · p(r), x = n·ln 2 + r, |r| <=
// ln 2 / 2, p the Taylor polynomial of degree 7 with its last coefficients fitted. 0 below -87.33, e^88.37
// above 88.37, NaN stays.
template <class Float, class Int>
inline Float exp_of(Float x) {
    constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    constexpr float lowest = -87.33f, highest = 88.37f;
    constexpr float magic = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer, left in the low bits
    const Float zero{};
    const Float clamped = x > zero + highest ? zero + highest : (x < zero + lowest ? zero + lowest : x);
    const Float shifted = clamped * log2_e + magic;
    const Float n = shifted - magic;
    const Float r = (clamped - n * ln2_high) - n * ln2_low;
    Float p = r * 1.98412698e-4f + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = (p * r) * r + r + 1.0f;
    const Int exponent = (__builtin_bit_cast(Int, shifted) + (127 - 0x4b400000)) << 23;
    const Float result = p * __builtin_bit_cast(Float, exponent);
    return x < zero + lowest ? zero : result;
}
inline float fast_exp(float x) {
    return exp_of<float, int32_t>(x);
}
inline FloatVector fast_exp(FloatVector x) {
    return exp_of<FloatVector, IntVector>(x);
}

}  // namespace templar::TEMPLAR_ISA
