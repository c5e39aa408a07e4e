// CUDA's device functions, with the meaning that its programming guide gives them. What a GPU computes approximately
// (__expf, rsqrtf) is exact here to rounding.
#pragma once

#include "simt_grid.h"

#include <math.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>

// ---- Shared memory and barriers -------------------------------------------------------------------------------------

namespace templar::cuda {

// The kernel's shared memory: one struct describes all of it (launch() is given its size).
template <class Storage>
Storage& shared_storage() {
    return *static_cast<Storage*>(simt::shared_memory(sizeof(Storage)));
}

}  // namespace templar::cuda

inline void __syncthreads(simt::Where where = simt::Where::current()) {
    simt::barrier(false, {"__syncthreads", where});
}
inline int __syncthreads_count(int predicate, simt::Where where = simt::Where::current()) {
    return simt::barrier(predicate != 0, {"__syncthreads_count", where}).with_predicate;
}
inline int __syncthreads_or(int predicate, simt::Where where = simt::Where::current()) {
    return simt::barrier(predicate != 0, {"__syncthreads_or", where}).with_predicate > 0;
}
inline int __syncthreads_and(int predicate, simt::Where where = simt::Where::current()) {
    const simt::Arrivals arrivals = simt::barrier(predicate != 0, {"__syncthreads_and", where});
    return arrivals.with_predicate == arrivals.threads;
}

// ---- Warp functions -------------------------------------------------------------------------------------------------
// Each is the one exchange: all lanes of the mask bring a value, each takes what it needs. __activemask() is left out
// on purpose: what it returns is chance.

inline void __syncwarp(unsigned mask = ~0u, simt::Where where = simt::Where::current()) {
    const int nothing = 0;
    simt::exchange(mask, &nothing, sizeof(nothing), nullptr, {"__syncwarp", where});
}

namespace simt {

// Lane `source`'s value; from a lane outside of the mask all bits are one (NaN, -1).
template <class T>
T shuffle(unsigned mask, T value, int source, Place place) {
    static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8));
    const void* lanes = exchange(mask, &value, sizeof(T), nullptr, place);
    std::memcpy(&value, static_cast<const unsigned char*>(lanes) + source * sizeof(T), sizeof(T));
    return value;
}

template <class T, class Combine>
T reduce(unsigned mask, T value, Combine combine, Place place) {
    const T* lanes = static_cast<const T*>(exchange(mask, &value, sizeof(T), nullptr, place));
    T result = lanes[std::countr_zero(mask)];
    for (int i = std::countr_zero(mask) + 1; i < 32; ++i)
        if (mask >> i & 1u) result = combine(result, lanes[i]);
    return result;
}

// One bit per lane of the mask: whether its value fulfils the condition.
template <class T, class Condition>
unsigned vote(unsigned mask, T value, Condition condition, Place place) {
    const T* lanes = static_cast<const T*>(exchange(mask, &value, sizeof(T), nullptr, place));
    unsigned result = 0;
    for (int i = 0; i < 32; ++i)
        if ((mask >> i & 1u) && condition(lanes[i])) result |= 1u << i;
    return result;
}

}  // namespace simt

// `width` (a power of two) cuts the warp into groups that do not see each other; a lane whose source would lie outside
// of its group keeps its own value (__shfl_xor_sync may read from an earlier group).
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, simt::Where where = simt::Where::current()) {
    const int first = simt::lane() & -width;
    return simt::shuffle(mask, value, first | (source & (width - 1)), {"__shfl_sync", where});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Where where = simt::Where::current()) {
    const int lane = simt::lane(), source = lane - static_cast<int>(delta);
    return simt::shuffle(mask, value, source < (lane & -width) ? lane : source, {"__shfl_up_sync", where});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Where where = simt::Where::current()) {
    const int lane = simt::lane(), source = lane + static_cast<int>(delta);
    return simt::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, {"__shfl_down_sync", where});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, simt::Where where = simt::Where::current()) {
    const int lane = simt::lane(), source = lane ^ bits;
    return simt::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, {"__shfl_xor_sync", where});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, simt::Where where = simt::Where::current()) {
    return simt::vote(mask, predicate, [](int p) { return p != 0; }, {"__ballot_sync", where});
}
inline int __any_sync(unsigned mask, int predicate, simt::Where where = simt::Where::current()) {
    return simt::vote(mask, predicate, [](int p) { return p != 0; }, {"__any_sync", where}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, simt::Where where = simt::Where::current()) {
    return simt::vote(mask, predicate, [](int p) { return p != 0; }, {"__all_sync", where}) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, simt::Where where = simt::Where::current()) {
    return simt::vote(mask, value, [=](T other) { return other == value; }, {"__match_any_sync", where});
}

template <class T>
concept simt_word = std::same_as<T, int> || std::same_as<T, unsigned>;
template <simt_word T>
T __reduce_add_sync(unsigned mask, T value, simt::Where where = simt::Where::current()) {
    const auto add = [](T a, T b) { return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b)); };
    return simt::reduce(mask, value, add, {"__reduce_add_sync", where});
}
template <simt_word T>
T __reduce_max_sync(unsigned mask, T value, simt::Where where = simt::Where::current()) {
    return simt::reduce(mask, value, [](T a, T b) { return a > b ? a : b; }, {"__reduce_max_sync", where});
}
template <simt_word T>
T __reduce_min_sync(unsigned mask, T value, simt::Where where = simt::Where::current()) {
    return simt::reduce(mask, value, [](T a, T b) { return a < b ? a : b; }, {"__reduce_min_sync", where});
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, simt::Where where = simt::Where::current()) {
    return simt::reduce(mask, value, [](unsigned a, unsigned b) { return a | b; }, {"__reduce_or_sync", where});
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, simt::Where where = simt::Where::current()) {
    return simt::reduce(mask, value, [](unsigned a, unsigned b) { return a & b; }, {"__reduce_and_sync", where});
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, simt::Where where = simt::Where::current()) {
    return simt::reduce(mask, value, [](unsigned a, unsigned b) { return a ^ b; }, {"__reduce_xor_sync", where});
}

// ---- Atomics: real ones, since blocks run in parallel. None on floats: their sums would depend on the order. --------

template <class T>
concept simt_atomic = simt_word<T> || std::same_as<T, unsigned long long>;

namespace simt {

// Replaces *address by change(*address); returns the old value.
template <simt_atomic T, class Change>
T atomically(T* address, Change change) {
    std::atomic_ref<T> target(*address);
    T old = target.load(std::memory_order_relaxed);
    while (!target.compare_exchange_weak(old, change(old), std::memory_order_relaxed)) {
    }
    return old;
}

}  // namespace simt

template <simt_atomic T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <class T>
    requires simt_word<T>
T atomicSub(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).fetch_sub(value, std::memory_order_relaxed);
}
template <simt_atomic T>
T atomicOr(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).fetch_or(value, std::memory_order_relaxed);
}
template <simt_atomic T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).fetch_and(value, std::memory_order_relaxed);
}
template <simt_atomic T>
T atomicXor(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).fetch_xor(value, std::memory_order_relaxed);
}
template <simt_atomic T>
T atomicExch(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).exchange(value, std::memory_order_relaxed);
}
template <simt_atomic T>
T atomicMax(T* address, std::type_identity_t<T> value) {
    return simt::atomically(address, [=](T old) { return old > value ? old : value; });
}
template <simt_atomic T>
T atomicMin(T* address, std::type_identity_t<T> value) {
    return simt::atomically(address, [=](T old) { return old < value ? old : value; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
    return simt::atomically(address, [=](unsigned old) { return old >= limit ? 0 : old + 1; });
}
inline unsigned atomicDec(unsigned* address, unsigned limit) {
    return simt::atomically(address, [=](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}
template <simt_atomic T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    std::atomic_ref<T>(*address).compare_exchange_strong(expected, value, std::memory_order_relaxed);
    return expected;
}

inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() {}

// ---- Loads and stores with cache hints ------------------------------------------------------------------------------

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldca(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> T __ldlu(const T* address) { return *address; }
template <class T> T __ldcv(const T* address) { return *address; }
template <class T> void __stwb(T* address, std::type_identity_t<T> value) { *address = value; }
template <class T> void __stcg(T* address, std::type_identity_t<T> value) { *address = value; }
template <class T> void __stcs(T* address, std::type_identity_t<T> value) { *address = value; }
template <class T> void __stwt(T* address, std::type_identity_t<T> value) { *address = value; }

// ---- Bits -----------------------------------------------------------------------------------------------------------

constexpr int __popc(unsigned x) { return std::popcount(x); }
constexpr int __popcll(unsigned long long x) { return std::popcount(x); }
constexpr int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
constexpr int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
constexpr int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
constexpr int __ffsll(long long x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(x)) + 1; }
constexpr unsigned __brev(unsigned x) {
    unsigned result = 0;
    for (int i = 0; i < 32; ++i) result |= (x >> i & 1u) << (31 - i);
    return result;
}
constexpr unsigned long long __brevll(unsigned long long x) {
    return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 |
           __brev(static_cast<unsigned>(x >> 32));
}
// 32 bits of high:low, shifted by shift mod 32; the _lc and _rc forms shift by 32 at most.
constexpr unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) << (shift & 31u) >> 32);
}
constexpr unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (shift & 31u));
}
constexpr unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? low : __funnelshift_l(low, high, shift);
}
constexpr unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? high : __funnelshift_r(low, high, shift);
}
// Byte i of the result is byte (selector >> 4i & 7) of high:low.
constexpr unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const uint64_t bytes = uint64_t{high} << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7u) & 0xffu) << 8 * i;
    return result;
}
constexpr unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
constexpr int __mulhi(int a, int b) { return static_cast<int>(int64_t{a} * b >> 32); }
__extension__ typedef unsigned __int128 simt_uint128;
constexpr unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(simt_uint128{a} * b >> 64);
}

constexpr unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
constexpr int __float_as_int(float x) { return std::bit_cast<int>(x); }
constexpr float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
constexpr float __int_as_float(int x) { return std::bit_cast<float>(x); }
constexpr long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
constexpr double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

// ---- Arithmetic -----------------------------------------------------------------------------------------------------
// _rn: IEEE, rounded to nearest, never fused with a neighbour. (This build fuses nothing: -ffp-contract=off.)

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1.0 / a; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// The C library declares functions of these names for itself.
#define __expf expf
#define __logf logf
#define __log2f log2f
#define __sinf sinf
#define __cosf cosf
#define __powf powf
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
#if !defined(__GLIBC_PREREQ)
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
#elif !__GLIBC_PREREQ(2, 41)  // later ones have them
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
#endif

constexpr int min(int a, int b) { return b < a ? b : a; }
constexpr int max(int a, int b) { return a < b ? b : a; }
constexpr unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
constexpr unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
constexpr long min(long a, long b) { return b < a ? b : a; }
constexpr long max(long a, long b) { return a < b ? b : a; }
constexpr unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
constexpr unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
constexpr long long min(long long a, long long b) { return b < a ? b : a; }
constexpr long long max(long long a, long long b) { return a < b ? b : a; }
constexpr unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
constexpr unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// ---- Conversions: to nearest (_rn), down, up, to zero; out of range the nearest there is, NaN 0 (64 bits: the
// smallest)

namespace simt {

template <class Integer, class Float>
Integer saturate(Float whole) {
    using Limits = std::numeric_limits<Integer>;
    if (whole != whole) return sizeof(Integer) == 8 ? static_cast<Integer>(uint64_t{1} << 63) : 0;
    if (whole <= static_cast<Float>(Limits::min())) return Limits::min();
    if (whole >= static_cast<Float>(Limits::max())) return Limits::max();  // rounds up to a power of two where it must
    return static_cast<Integer>(whole);
}

}  // namespace simt

inline int __float2int_rn(float x) { return simt::saturate<int>(nearbyintf(x)); }
inline int __float2int_rd(float x) { return simt::saturate<int>(floorf(x)); }
inline int __float2int_ru(float x) { return simt::saturate<int>(ceilf(x)); }
inline int __float2int_rz(float x) { return simt::saturate<int>(truncf(x)); }
inline unsigned __float2uint_rn(float x) { return simt::saturate<unsigned>(nearbyintf(x)); }
inline unsigned __float2uint_rz(float x) { return simt::saturate<unsigned>(truncf(x)); }
inline long long __float2ll_rn(float x) { return simt::saturate<long long>(nearbyintf(x)); }
inline int __double2int_rn(double x) { return simt::saturate<int>(nearbyint(x)); }
inline long long __double2ll_rn(double x) { return simt::saturate<long long>(nearbyint(x)); }
inline long long __double2ll_rz(double x) { return simt::saturate<long long>(trunc(x)); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return x; }
inline double __uint2double_rn(unsigned x) { return x; }
inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
inline double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }

[[noreturn]] inline void __trap() { simt::fail_thread("__trap()"); }
