// A gradient on the wire (docs/protocol.md §5.2): header, hashes of 1 MiB blocks, payload. Everything has a
// length that follows from the layout.
//
// The header, little-endian; the signature, of kind "payload", covers the bytes before it, and by way of
// `blocks` all that follow:
//
//   offset  bytes  field               offset  bytes  field
//        0      8  magic "TMPLGRAD"       160      8  length
//        8      4  version 1              168     32  blocks
//       12      4  header bytes, 384      200     32  possession
//       16     32  run_id                 232      8  ledger_sequence
//       48      8  window                 240     32  ledger_head
//       56     32  hotkey                 272     64  signature
//       88     32  root                   336     48  zeros
//      120     32  layout                 384         32 bytes a block: SHA-256 of each
//      152      8  tokens                             payload
#pragma once

#include "net/transfer.h"
#include "net/wire/identity.h"

#include <optional>
#include <vector>

namespace templar {

inline constexpr int64_t payload_block_bytes = 1 << 20;
inline constexpr int64_t payload_header_bytes = 384;

struct PayloadHeader {
    Digest run_id{};
    uint64_t window = 0;
    Hotkey hotkey{};
    Digest root{};                 // state the gradient was made from
    Digest layout{};               // layout hash
    uint64_t tokens = 0;           // tokens used
    uint64_t length = 0;           // payload bytes
    Digest blocks{};               // root of the block hashes: SHA-256 of their concatenation
    Digest possession{};           // possession_proof()
    uint64_t ledger_sequence = 0;  // latest ledger entry seen
    Digest ledger_head{};
    bool operator==(const PayloadHeader&) const = default;
};

// Length of a wire object that carries `payload_bytes`.
int64_t wire_object_bytes(int64_t payload_bytes);

// Fills header.hotkey, length and blocks, signs, and returns the whole object.
Bytes encode_payload(const Identity& author, PayloadHeader header, ByteSpan payload);

// The object as it travelled, with what its header says.
struct WirePayload {
    PayloadHeader header;
    Bytes object;
    ByteSpan payload() const { return ByteSpan(object).last(header.length); }
};
// What the reader already knows and the object must agree with.
struct PayloadExpectation {
    Digest run_id;
    uint64_t window;
    Hotkey hotkey;
    Digest layout;
    int64_t payload_bytes;
};
// Throws Error(input) that names the field, what was expected and what was found: length, magic, version,
// run, window, hotkey, layout, signature, block hash (with its number). root, tokens and possession are for
// the caller to judge.
WirePayload decode_payload(ByteSpan object, const PayloadExpectation& expected);

// The same judgement while the object arrives, as an ArrivalCheck (by std::ref: it remembers). Header,
// signature and block hashes are checked as soon as they are there, and end a liar's transfer; a block is
// hashed when its last byte is there, and returned when it differs: it then counts as not arrived. Parts may
// come in any order, need not end where blocks do, and may come again: what they touch is judged anew.
class PayloadCheck {
  public:
    explicit PayloadCheck(const PayloadExpectation& expected);
    // Throws what decode_payload throws, but for block hashes.
    std::vector<ByteRange> operator()(ByteSpan object, ByteRange arrived);
    // Of the object that arrived; what has not been checked by now is. Throws what decode_payload throws.
    WirePayload take(Bytes object) &&;

  private:
    void check_front(ByteSpan object);
    ByteRange block(int64_t number) const;
    Digest expected_hash(ByteSpan object, int64_t number) const;

    PayloadExpectation expected_;
    std::optional<PayloadHeader> header_;  // once it and the block hashes are right
    std::vector<bool> right_;              // by block
    std::vector<ByteRange> arrived_;       // neither overlapping nor touching
};

}  // namespace templar
