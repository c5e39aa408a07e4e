// A counter-based random generator: the ChaCha20 key stream (RFC 8439 block function, 64-bit block counter)
// of a 256-bit key. Anyone who knows the key reproduces every draw; nobody else can predict one.
#pragma once

#include "base/sha256.h"

namespace templar {

class CounterRng {
  public:
    // `position` counts 32-bit words already drawn, so that a generator can be saved and resumed.
    explicit CounterRng(const Digest& key, uint64_t position = 0);

    uint32_t next_u32();
    uint64_t next_u64();
    // Uniform in [0, bound) without bias (rejection). Throws std::invalid_argument when bound is 0.
    uint64_t below(uint64_t bound);
    // Uniform in [0, 1) with 53 random bits.
    double uniform();
    // Standard normal (Box–Muller; uses libm, so not for anything that must agree between machines).
    double normal();
    uint64_t position() const { return position_; }

  private:
    void refill();

    std::array<uint32_t, 8> key_;
    std::array<uint32_t, 16> block_;
    uint64_t position_ = 0;
};

// 32 bytes from the operating system's generator.
Digest random_secret();

}  // namespace templar
