#include "base/sha256.h"

#include "base/error.h"

#include <algorithm>

#ifdef TEMPLAR_HAVE_OPENSSL
#include <openssl/evp.h>
#endif

namespace templar {

#ifdef TEMPLAR_HAVE_OPENSSL

struct Sha256::State {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
    if (!state_->context || EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
        fail(ExitCode::internal, "OpenSSL refused to start SHA-256");
}

Sha256& Sha256::update(ByteSpan bytes) {
    EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
    return *this;
}

Digest Sha256::finish() {
    Digest digest;
    EVP_DigestFinal_ex(state_->context, digest.data(), nullptr);
    return digest;
}

#else

namespace {

constexpr uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t rotate_right(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

}  // namespace

struct Sha256::State {
    std::array<uint32_t, 8> h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<uint8_t, 64> block{};
    size_t filled = 0;
    uint64_t length = 0;

    void compress(const uint8_t* p) {
        uint32_t w[64];
        for (int i = 0; i < 16; ++i)
            w[i] = uint32_t(p[4 * i]) << 24 | uint32_t(p[4 * i + 1]) << 16 | uint32_t(p[4 * i + 2]) << 8 |
                   p[4 * i + 3];
        for (int i = 16; i < 64; ++i) {
            uint32_t s0 = rotate_right(w[i - 15], 7) ^ rotate_right(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t s1 = rotate_right(w[i - 2], 17) ^ rotate_right(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        auto [a, b, c, d, e, f, g, k] = h;
        for (int i = 0; i < 64; ++i) {
            uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
            uint32_t t1 = k + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
            uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
            uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
            k = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        const uint32_t add[8] = {a, b, c, d, e, f, g, k};
        for (int i = 0; i < 8; ++i) h[i] += add[i];
    }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}

Sha256& Sha256::update(ByteSpan bytes) {
    State& s = *state_;
    s.length += bytes.size();
    while (!bytes.empty()) {
        size_t take = std::min(bytes.size(), s.block.size() - s.filled);
        std::memcpy(s.block.data() + s.filled, bytes.data(), take);
        s.filled += take;
        bytes = bytes.subspan(take);
        if (s.filled == s.block.size()) {
            s.compress(s.block.data());
            s.filled = 0;
        }
    }
    return *this;
}

Digest Sha256::finish() {
    State& s = *state_;
    const uint64_t bits = s.length * 8;
    const uint8_t one = 0x80, zero = 0;
    update({&one, 1});
    while (s.filled != 56) update({&zero, 1});
    uint8_t tail[8];
    for (int i = 0; i < 8; ++i) tail[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
    update(tail);
    Digest digest;
    for (int i = 0; i < 32; ++i) digest[i] = static_cast<uint8_t>(s.h[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
}

#endif

Sha256::~Sha256() = default;

Digest sha256(ByteSpan bytes) {
    return Sha256().update(bytes).finish();
}

Digest digest_from_hex(std::string_view hex, std::string_view what) {
    Bytes bytes = from_hex(hex, 32, what);
    Digest digest;
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    return digest;
}

}  // namespace templar
