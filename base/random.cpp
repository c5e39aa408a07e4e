#include "base/random.h"

#include "base/error.h"

#include <sys/random.h>

#include <bit>
#include <cmath>
#include <numbers>

namespace templar {

CounterRng::CounterRng(const Digest& key, uint64_t position) : position_(position) {
    ByteReader reader(key, "generator key");
    for (uint32_t& word : key_) word = reader.get<uint32_t>();
    if (position_ % 16 != 0) refill();
}

void CounterRng::refill() {
    const uint64_t counter = position_ / 16;
    const std::array<uint32_t, 16> input = {0x61707865,
                                            0x3320646e,
                                            0x79622d32,
                                            0x6b206574,
                                            key_[0],
                                            key_[1],
                                            key_[2],
                                            key_[3],
                                            key_[4],
                                            key_[5],
                                            key_[6],
                                            key_[7],
                                            static_cast<uint32_t>(counter),
                                            static_cast<uint32_t>(counter >> 32),
                                            0,
                                            0};
    std::array<uint32_t, 16> x = input;
    auto quarter = [&x](int a, int b, int c, int d) {
        x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 16);
        x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 12);
        x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 8);
        x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 7);
    };
    for (int round = 0; round < 10; ++round) {
        quarter(0, 4, 8, 12), quarter(1, 5, 9, 13), quarter(2, 6, 10, 14), quarter(3, 7, 11, 15);
        quarter(0, 5, 10, 15), quarter(1, 6, 11, 12), quarter(2, 7, 8, 13), quarter(3, 4, 9, 14);
    }
    for (int i = 0; i < 16; ++i) block_[i] = x[i] + input[i];
}

uint32_t CounterRng::next_u32() {
    if (position_ % 16 == 0) refill();
    return block_[position_++ % 16];
}

uint64_t CounterRng::next_u64() {
    const uint64_t low = next_u32();
    return low | static_cast<uint64_t>(next_u32()) << 32;
}

uint64_t CounterRng::below(uint64_t bound) {
    if (bound == 0) throw std::invalid_argument("CounterRng::below: bound is 0");
    const uint64_t rejected = (0 - bound) % bound;  // 2^64 mod bound
    for (;;) {
        const uint64_t draw = next_u64();
        if (draw >= rejected) return draw % bound;
    }
}

double CounterRng::uniform() {
    return static_cast<double>(next_u64() >> 11) * 0x1p-53;
}

double CounterRng::normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

Digest random_secret() {
    Digest secret;
    if (getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
        fail(ExitCode::internal, "the operating system gave no random bytes");
    return secret;
}

}  // namespace templar
