// Wide loads and stores. A thread moves at most 16 bytes in one instruction, so memory-bound kernels walk their tensors in
// packs of that size: 4 fp32 or 8 bf16 numbers, computed on as fp32.
//
// Kernels are templates over the numbers per step, n: pack_size<T> where every row starts on 16 bytes and holds whole packs,
// else 1, and the same source serves both.
#pragma once

#include "kernels/cuda/cuda.h"

#include <cstdint>
#include <cstring>

namespace templar::cuda {

template <class T>
inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));

// n numbers as they lie in memory.
template <class T, int n = pack_size<T>>
struct Pack {
    T values[n];
};

// n numbers in registers.
template <int n>
struct Floats {
    float values[n];
    __device__ __forceinline__ float& operator[](int i) { return values[i]; }
    __device__ __forceinline__ float operator[](int i) const { return values[i]; }
};

// ---- fp32 <-> T: widening is exact, narrowing rounds to nearest, ties to even ---------------------------------------------
__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ __forceinline__ T from_float(float value) {
    if constexpr (sizeof(T) == sizeof(float)) return value;
    else return __float2bfloat16(value);
}

template <class T, int n>
__device__ __forceinline__ Floats<n> widen(const Pack<T, n>& pack) {
    Floats<n> result;
    for (int i = 0; i < n; ++i) result[i] = to_float(pack.values[i]);
    return result;
}
template <class T, int n>
__device__ __forceinline__ Pack<T, n> narrow(const Floats<n>& floats) {
    Pack<T, n> result;
    for (int i = 0; i < n; ++i) result.values[i] = from_float<T>(floats[i]);
    return result;
}

// ---- n numbers at an address that is a multiple of their size (of 16 bytes, for more) --------------------------------------
// `streaming`: not used again soon, so it should leave the caches first.
enum class Use { again, streaming };

// Word by word; Word is what one instruction moves.
template <class Word, class T, int n>
__device__ __forceinline__ Pack<T, n> load_words(const T* from, Use use) {
    constexpr int words = static_cast<int>(sizeof(Pack<T, n>) / sizeof(Word));
    Word word[words];
    for (int i = 0; i < words; ++i) {
        const Word* const address = reinterpret_cast<const Word*>(from) + i;
        word[i] = use == Use::streaming ? __ldcs(address) : *address;
    }
    Pack<T, n> pack;
    std::memcpy(&pack, word, sizeof(pack));
    return pack;
}
template <class Word, class T, int n>
__device__ __forceinline__ void store_words(T* to, const Pack<T, n>& pack, Use use) {
    constexpr int words = static_cast<int>(sizeof(pack) / sizeof(Word));
    Word word[words];
    std::memcpy(word, &pack, sizeof(pack));
    for (int i = 0; i < words; ++i) {
        Word* const address = reinterpret_cast<Word*>(to) + i;
        if (use == Use::streaming) __stcs(address, word[i]);
        else *address = word[i];
    }
}

template <int n, class T>
__device__ __forceinline__ Pack<T, n> load_pack(const T* from, Use use = Use::again) {
    constexpr int bytes = n * static_cast<int>(sizeof(T));
    if constexpr (bytes % 16 == 0) return load_words<int4, T, n>(from, use);
    else if constexpr (bytes == 8) return load_words<unsigned long long, T, n>(from, use);
    else if constexpr (bytes == 4) return load_words<unsigned, T, n>(from, use);
    else return load_words<unsigned short, T, n>(from, use);
}
template <int n, class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, n>& pack, Use use = Use::again) {
    constexpr int bytes = n * static_cast<int>(sizeof(T));
    if constexpr (bytes % 16 == 0) store_words<int4>(to, pack, use);
    else if constexpr (bytes == 8) store_words<unsigned long long>(to, pack, use);
    else if constexpr (bytes == 4) store_words<unsigned>(to, pack, use);
    else store_words<unsigned short>(to, pack, use);
}

template <int n, class T>
__device__ __forceinline__ Floats<n> load(const T* from, Use use = Use::again) {
    return widen(load_pack<n>(from, use));
}
template <int n, class T>
__device__ __forceinline__ void store(T* to, const Floats<n>& floats, Use use = Use::again) {
    store_pack<n>(to, narrow<T>(floats), use);
}

// ---- for launchers -----------------------------------------------------------------------------------------------------------
// True when rows of `length` numbers of T, starting at the addresses (null: absent), are made of whole 16-byte packs.
template <class T, class... Pointers>
bool whole_packs(int64_t length, const Pointers*... rows) {
    return length % pack_size<T> == 0 && ((reinterpret_cast<uintptr_t>(rows) % 16 == 0) && ...);
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace templar::cuda
