// Payload objects for targets, and their repair where a change would end the reading early.
#pragma once

#include "net/wire/payload.h"
#include "tests/fuzz/target.h"

namespace templar::fuzz {

inline constexpr size_t signed_bytes = 272, length_field = 160, blocks_field = 168;

inline const Identity& author() {
    return participant(0);
}

inline PayloadExpectation expectation(int64_t payload_bytes) {
    return {run_id, static_cast<uint64_t>(window), author().hotkey(), sha256(as_bytes("layout")),
            payload_bytes};
}

inline Bytes encoded(size_t size) {
    PayloadHeader header;
    header.run_id = run_id;
    header.window = static_cast<uint64_t>(window);
    header.root = sha256(as_bytes("root"));
    header.layout = sha256(as_bytes("layout"));
    header.tokens = 1'000'000;
    Bytes payload(size);
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<uint8_t>(i ^ i >> 8);
    return encode_payload(author(), header, payload);
}

inline Bytes example(bool large, uint16_t size) {
    static const std::vector<Bytes> several_blocks = {
        encoded(payload_block_bytes - 1), encoded(payload_block_bytes), encoded(payload_block_bytes + 1),
        encoded(2 * payload_block_bytes + 100)};
    return large ? several_blocks[size % several_blocks.size()] : encoded(size % 2048);
}

inline void fit_hashes(std::span<uint8_t> object, size_t payload_bytes) {
    const size_t payload_at = object.size() - payload_bytes;
    ByteSpan payload = object.subspan(payload_at);
    const std::span<uint8_t> hashes = object.subspan(payload_header_bytes, payload_at - payload_header_bytes);
    for (size_t i = 0; i < hashes.size(); i += 32) {
        const size_t block = std::min(payload.size(), static_cast<size_t>(payload_block_bytes));
        std::ranges::copy(sha256(payload.first(block)), hashes.begin() + static_cast<std::ptrdiff_t>(i));
        payload = payload.subspan(block);
    }
    std::ranges::copy(sha256(hashes), object.begin() + blocks_field);
}

inline void fit_signature(std::span<uint8_t> object) {
    std::ranges::copy(author().sign("payload", object.first(signed_bytes)), object.begin() + signed_bytes);
}

inline size_t payload_length(ByteSpan object) {
    return static_cast<size_t>(ByteReader(object.subspan(length_field), "").get<uint64_t>());
}

// {<u16 place><u8 xor>}…: header and hashes one by one; the payload in steps that reach all of it.
inline void change(std::span<uint8_t> object, Input& input) {
    const size_t length = payload_length(object), head = object.size() - length;
    while (!input.empty()) {
        const auto place = input.number<uint16_t>();
        const size_t at = place < head || length == 0 ? place % head : head + (place - head) * 61 % length;
        object[at] ^= input.number();
    }
}

// What is accepted is what its author encodes, byte for byte.
inline void check_accepted(const WirePayload& decoded, ByteSpan object, int64_t payload_bytes) {
    require(std::ssize(decoded.payload()) == payload_bytes, "a payload has the length that was expected");
    require(std::ranges::equal(encode_payload(author(), decoded.header, decoded.payload()), object),
            "an accepted object is what its author encodes");
}

}  // namespace templar::fuzz
