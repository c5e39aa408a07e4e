// Payload objects: accepted only as their author encodes them, byte for byte.
//   r<object>                     as it comes from a bucket
//   <flags><u16 size>{<u16 place><u8 xor>}…
//                                 an object encoded inside, then changed; what covers the change is made to
//                                 fit again: 1 the hashes of the blocks, 2 the signature; 4: of several
//                                 blocks
#include "net/wire/payload.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr size_t signed_bytes = 272, length_field = 160, blocks_field = 168;

const Identity& author() {
    return participant(0);
}

PayloadExpectation expectation(int64_t payload_bytes) {
    return {run_id, static_cast<uint64_t>(window), author().hotkey(), sha256(as_bytes("layout")),
            payload_bytes};
}

Bytes encoded(size_t size) {
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

Bytes example(bool large, uint16_t size) {
    static const std::vector<Bytes> several_blocks = {
        encoded(payload_block_bytes - 1), encoded(payload_block_bytes), encoded(payload_block_bytes + 1),
        encoded(2 * payload_block_bytes + 100)};
    return large ? several_blocks[size % several_blocks.size()] : encoded(size % 2048);
}

void fit_hashes(std::span<uint8_t> object, size_t payload_bytes) {
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

void fit_signature(std::span<uint8_t> object) {
    std::ranges::copy(author().sign("payload", object.first(signed_bytes)), object.begin() + signed_bytes);
}

void judge(ByteSpan object, int64_t payload_bytes) {
    const auto decoded = accepted([&] { return decode_payload(object, expectation(payload_bytes)); });
    if (!decoded) return;
    require(std::ssize(decoded->payload) == payload_bytes, "a payload has the length that was expected");
    require(
        encode_payload(author(), decoded->header, decoded->payload) == Bytes(object.begin(), object.end()),
        "an accepted object is what its author encodes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const uint8_t flags = input.number();
    if (flags == 'r') {
        const ByteSpan object = input.rest();
        // The length under which the object's own length is right.
        judge(object, std::max<int64_t>(0, std::ssize(object) - payload_header_bytes - 32));
        return 0;
    }
    Bytes object = example(flags & 4, input.number<uint16_t>());
    const auto length =
        static_cast<size_t>(ByteReader(ByteSpan(object).subspan(length_field), "").get<uint64_t>());
    const size_t head = object.size() - length;
    while (!input.empty()) {
        const auto place = input.number<uint16_t>();
        // Header and hashes one by one; the payload in steps that reach all of it.
        const size_t at = place < head || length == 0 ? place % head : head + (place - head) * 61 % length;
        object[at] ^= input.number();
    }
    if (flags & 1) fit_hashes(object, length);
    if (flags & 2) fit_signature(object);
    judge(object, static_cast<int64_t>(length));
    return 0;
}
