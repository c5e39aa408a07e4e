// bfloat16 on the host: a storage type, the upper half of an fp32 number.
#pragma once

#include <bit>
#include <cstdint>

namespace templar {

struct bf16 {
    uint16_t bits;
};

// Rounds to nearest, ties to even; NaN becomes the quiet NaN 0x7fff, as on the GPU.
[[gnu::always_inline]] constexpr bf16 to_bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
    return {static_cast<uint16_t>((u + 0x7fffu + (u >> 16 & 1u)) >> 16)};
}
[[gnu::always_inline]] constexpr float to_float(bf16 value) {
    return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

}  // namespace templar
