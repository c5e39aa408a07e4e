// Who a participant is: an Ed25519 key pair (docs/protocol.md §2).
#pragma once

#include "base/sha256.h"

#include <array>
#include <filesystem>
#include <memory>
#include <string_view>

namespace templar {

using Hotkey = Digest;  // the public key: 32 bytes
using Signature = std::array<uint8_t, 64>;

// A key pair. Signatures are over "templar.cpp/1/" ‖ kind ‖ 0x00 ‖ bytes, so that an object of one kind never
// passes as another.
class Identity {
  public:
    static Identity generate();
    // Deterministic, for tests.
    static Identity from_seed(const Digest& seed);
    // A key file: one line of 64 hexadecimal digits (the private seed), mode 0600. Throws Error(identity)
    // when it is missing, malformed, a link, or readable or writable by anyone but its owner (with the chmod
    // to type).
    static Identity load(const std::filesystem::path& path);
    // load(), or generate and save with mode 0600 when the file does not exist.
    static Identity load_or_create(const std::filesystem::path& path);
    void save(const std::filesystem::path& path) const;

    const Hotkey& hotkey() const { return hotkey_; }
    Signature sign(std::string_view kind, ByteSpan bytes) const;

  private:
    explicit Identity(const Digest& seed);
    struct Key;
    std::shared_ptr<Key> key_;
    Hotkey hotkey_{};
};

bool verify(const Hotkey& author, std::string_view kind, ByteSpan bytes, const Signature& signature);

}  // namespace templar
