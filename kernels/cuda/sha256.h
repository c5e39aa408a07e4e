// SHA-256 (FIPS 180-4) by one thread, for messages of the hash tree: one tag byte, then 32-bit words as they lie in
// memory (little-endian).
#pragma once

#include "kernels/cuda/cuda.h"

#include <cstdint>

namespace templar::cuda {

struct Sha256State {
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
};

// nvcc makes one funnel shift of it.
__device__ __forceinline__ uint32_t rotate_right(uint32_t x, int n) { return x >> n | x << (32 - n); }

// Unrolled, so that the rounds' constants are immediates and w stays in registers; w is overwritten.
__device__ __forceinline__ void sha256_block(Sha256State& state, uint32_t (&w)[16]) {
    constexpr uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t a = state.h[0], b = state.h[1], c = state.h[2], d = state.h[3];
    uint32_t e = state.h[4], f = state.h[5], g = state.h[6], h = state.h[7];
#pragma unroll
    for (int i = 0; i < 64; ++i) {
        if (i >= 16) {
            const uint32_t w2 = w[(i - 2) % 16], w15 = w[(i - 15) % 16];
            const uint32_t s0 = rotate_right(w15, 7) ^ rotate_right(w15, 18) ^ w15 >> 3;
            const uint32_t s1 = rotate_right(w2, 17) ^ rotate_right(w2, 19) ^ w2 >> 10;
            w[i % 16] += s0 + w[(i - 7) % 16] + s1;
        }
        const uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i % 16];
        const uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state.h[0] += a, state.h[1] += b, state.h[2] += c, state.h[3] += d;
    state.h[4] += e, state.h[5] += f, state.h[6] += g, state.h[7] += h;
}

// Words 16·block … of `count`, in memory; after the last the padding's first byte 0x80, then zeros.
__device__ __forceinline__ void load_block(uint32_t* words, const uint8_t* bytes, int64_t block, int64_t count,
                                           bool aligned) {
    const int64_t first = 16 * block;
    if (aligned && first + 16 <= count) {
        const auto packs = reinterpret_cast<const uint4*>(bytes) + 4 * block;
        for (int i = 0; i < 4; ++i) {
            const uint4 pack = packs[i];
            words[4 * i] = pack.x, words[4 * i + 1] = pack.y, words[4 * i + 2] = pack.z, words[4 * i + 3] = pack.w;
        }
        return;
    }
    for (int i = 0; i < 16; ++i) {
        const uint8_t* const b = bytes + 4 * (first + i);
        if (first + i < count) words[i] = b[0] | b[1] << 8 | b[2] << 16 | uint32_t{b[3]} << 24;
        else words[i] = first + i == count ? 0x80 : 0;
    }
}

// Hash of tag ‖ prefix ‖ `count` words at `bytes` (any alignment; 16-byte loads where it is a multiple of 16).
//
// SHA-256 takes big-endian words, and the tag shifts everything by a byte: with the tag as the last byte of a word
// before the prefix, each of its words is made of the last byte of one memory word and three bytes of the next, in one
// __byte_perm.
template <int prefix_words>
__device__ __forceinline__ Sha256State sha256_tagged(uint32_t tag, const uint32_t* prefix, const uint8_t* bytes,
                                                     int64_t count) {
    constexpr int header = 1 + prefix_words;
    uint32_t words[header + 16];  // those before this block's, then this block's
    words[0] = tag << 24;
    for (int i = 0; i < prefix_words; ++i) words[1 + i] = prefix[i];

    const int64_t length = 1 + 4 * (prefix_words + count);
    const int64_t blocks = (length + 1 + 8 + 63) / 64;
    const bool aligned = reinterpret_cast<uintptr_t>(bytes) % 16 == 0;
    Sha256State state;
    for (int64_t block = 0; block < blocks; ++block) {
        load_block(words + header, bytes, block, count, aligned);
        uint32_t w[16];
        for (int i = 0; i < 16; ++i) w[i] = __byte_perm(words[i], words[i + 1], 0x3456);
        if (block == blocks - 1) {
            w[14] = static_cast<uint32_t>(length >> 29);
            w[15] = static_cast<uint32_t>(length << 3);
        }
        for (int i = 0; i < header; ++i) words[i] = words[16 + i];
        sha256_block(state, w);
    }
    return state;
}

__device__ __forceinline__ void store_digest(uint8_t* digest, const Sha256State& state) {
    for (int i = 0; i < 32; ++i) digest[i] = static_cast<uint8_t>(state.h[i / 4] >> (24 - 8 * (i % 4)));
}

}  // namespace templar::cuda
