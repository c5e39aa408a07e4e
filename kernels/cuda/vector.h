// Wide loads and stores. A thread moves at most 16 bytes in one instruction, so memory-bound kernels walk their tensors
// in packs of that size: 4 fp32 or 8 bf16 numbers, computed on as fp32.
//
// Kernels are templates over the numbers per step, n: pack_size<T> where every row starts on 16 bytes and holds whole
// packs, else 1, and the same source serves both.
#pragma once

#include "kernels/cuda/cuda.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace templar::cuda {

template <class T>
inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));

// n numbers in registers.
template <int n>
struct Floats {
    float values[n];
    __device__ __forceinline__ float& operator[](int i) { return values[i]; }
    __device__ __forceinline__ float operator[](int i) const { return values[i]; }
};

// n numbers of T as they lie in memory: in words, so that two bf16 numbers share a register.
template <class T, int n = pack_size<T>>
struct Pack {
    using Word = std::conditional_t<n * sizeof(T) % 4 == 0, uint32_t, uint16_t>;
    Word words[n * sizeof(T) / sizeof(Word)];
};

// ---- fp32 <-> T: widening is exact, narrowing rounds to nearest, ties to even -------------------------------------
__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ __forceinline__ T from_float(float value) {
    if constexpr (sizeof(T) == sizeof(float)) return value;
    else return __float2bfloat16(value);
}

__device__ __forceinline__ uint16_t bf16_bits(float value) {
    const __nv_bfloat16 rounded = __float2bfloat16(value);
    uint16_t bits;
    std::memcpy(&bits, &rounded, sizeof(bits));
    return bits;
}
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
#if defined(__CUDACC__)
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return uint32_t{bf16_bits(high)} << 16 | bf16_bits(low);
#endif
}

template <class T, int n>
__device__ __forceinline__ Floats<n> widen(const Pack<T, n>& pack) {
    Floats<n> result;
    for (int i = 0; i < n; ++i) {
        if constexpr (sizeof(T) == sizeof(float)) result[i] = __uint_as_float(pack.words[i]);
        else if constexpr (n == 1) result[i] = __uint_as_float(uint32_t{pack.words[0]} << 16);
        else result[i] = __uint_as_float(i % 2 == 0 ? pack.words[i / 2] << 16 : pack.words[i / 2] & 0xffff0000u);
    }
    return result;
}
template <class T, int n>
__device__ __forceinline__ Pack<T, n> narrow(const Floats<n>& floats) {
    static_assert(sizeof(T) == sizeof(float) || n == 1 || n % 2 == 0);
    Pack<T, n> result;
    if constexpr (sizeof(T) == sizeof(float)) {
        for (int i = 0; i < n; ++i) result.words[i] = __float_as_uint(floats[i]);
    } else if constexpr (n == 1) {
        result.words[0] = bf16_bits(floats[0]);
    } else {
        for (int i = 0; i < n; i += 2) result.words[i / 2] = bf16_pair(floats[i], floats[i + 1]);
    }
    return result;
}

// ---- n numbers at an address that is a multiple of their size (of 16 bytes, for more) -----------------------------
// `streaming`: not used again soon, so it should leave the caches first.
enum class Use { again, streaming };

// Unit: what one instruction moves.
template <class Unit, class T, int n>
__device__ __forceinline__ Pack<T, n> load_units(const T* from, Use use) {
    constexpr int units = static_cast<int>(sizeof(Pack<T, n>) / sizeof(Unit));
    Unit unit[units];
    for (int i = 0; i < units; ++i) {
        const Unit* const address = reinterpret_cast<const Unit*>(from) + i;
        unit[i] = use == Use::streaming ? __ldcs(address) : *address;
    }
    Pack<T, n> pack;
    std::memcpy(&pack, unit, sizeof(pack));
    return pack;
}
template <class Unit, class T, int n>
__device__ __forceinline__ void store_units(T* to, const Pack<T, n>& pack, Use use) {
    constexpr int units = static_cast<int>(sizeof(pack) / sizeof(Unit));
    Unit unit[units];
    std::memcpy(unit, &pack, sizeof(pack));
    for (int i = 0; i < units; ++i) {
        Unit* const address = reinterpret_cast<Unit*>(to) + i;
        if (use == Use::streaming) __stcs(address, unit[i]);
        else *address = unit[i];
    }
}

template <int bytes>
using UnitOf = std::conditional_t<
    bytes % 16 == 0, int4,
    std::conditional_t<bytes == 8, unsigned long long, std::conditional_t<bytes == 4, unsigned, unsigned short>>>;

template <int n, class T>
__device__ __forceinline__ Pack<T, n> load_pack(const T* from, Use use = Use::again) {
    return load_units<UnitOf<sizeof(Pack<T, n>)>, T, n>(from, use);
}
template <class T, int n>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, n>& pack, Use use = Use::again) {
    store_units<UnitOf<sizeof(pack)>>(to, pack, use);
}

template <int n, class T>
__device__ __forceinline__ Floats<n> load(const T* from, Use use = Use::again) {
    return widen(load_pack<n>(from, use));
}
template <int n, class T>
__device__ __forceinline__ void store(T* to, const Floats<n>& floats, Use use = Use::again) {
    store_pack(to, narrow<T>(floats), use);
}

// ---- for launchers ------------------------------------------------------------------------------------------------
// True when rows of `length` numbers of T, starting at the addresses (null: absent), are made of whole 16-byte packs.
template <class T, class... Pointers>
bool whole_packs(int64_t length, const Pointers*... rows) {
    return length % pack_size<T> == 0 && ((reinterpret_cast<uintptr_t>(rows) % 16 == 0) && ...);
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace templar::cuda
