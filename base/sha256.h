// SHA-256 (FIPS 180-4). Uses OpenSSL when the build found it, a portable implementation otherwise.
#pragma once

#include "base/bytes.h"

#include <memory>

namespace templar {

using Digest = std::array<uint8_t, 32>;

// Incremental hash: update any number of times, finish once.
class Sha256 {
  public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    Sha256& update(ByteSpan bytes);
    Sha256& update(std::string_view text) { return update(as_bytes(text)); }
    // Appends the integer's little-endian bytes.
    template <class Integer>
    Sha256& update_le(Integer value) {
        ByteWriter writer;
        writer.put(value);
        return update(writer.bytes());
    }
    Digest finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

Digest sha256(ByteSpan bytes);

// A digest from 64 hexadecimal digits; throws Error(input) naming `what`.
Digest digest_from_hex(std::string_view hex, std::string_view what);

}  // namespace templar
