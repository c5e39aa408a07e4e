#include "net/wire/payload.h"

#include "base/random.h"
#include "tests/net/error_code.h"

using namespace templar;

namespace {

Digest digest(std::string_view text) {
    return sha256(as_bytes(text));
}
const Identity alice = Identity::from_seed(digest("alice"));
const Identity bob = Identity::from_seed(digest("bob"));

Bytes random_bytes(size_t size) {
    CounterRng rng(digest("payload"));
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.next_u32());
    return bytes;
}

PayloadHeader example_header() {
    PayloadHeader header;
    header.run_id = digest("run");
    header.window = 0x0102030405060708;
    header.root = digest("root");
    header.layout = digest("layout");
    header.tokens = 123'456'789;
    header.possession = digest("possession");
    header.ledger_sequence = 77;
    header.ledger_head = digest("head");
    return header;
}

PayloadExpectation expectation(int64_t payload_bytes) {
    return {digest("run"), 0x0102030405060708, alice.hotkey(), digest("layout"), payload_bytes};
}

void refused(ByteSpan object, const PayloadExpectation& expected,
             std::string_view mentions = "payload object: ") {
    CHECK(code_of([&] { decode_payload(object, expected); }, mentions) == ExitCode::input);
}

}  // namespace

TEST_CASE("payload object: what is encoded is decoded") {
    for (int64_t size : {int64_t{0}, int64_t{1}, int64_t{1000}, payload_block_bytes - 1, payload_block_bytes,
                         payload_block_bytes + 1, 3 * payload_block_bytes + 17}) {
        const Bytes payload = random_bytes(static_cast<size_t>(size));
        const Bytes object = encode_payload(alice, example_header(), payload);
        CHECK(static_cast<int64_t>(object.size()) == wire_object_bytes(size));
        const WirePayload decoded = decode_payload(object, expectation(size));
        CHECK(decoded.payload == payload);
        PayloadHeader header = example_header();
        header.hotkey = alice.hotkey();
        header.length = static_cast<uint64_t>(size);
        header.blocks = decoded.header.blocks;
        CHECK(decoded.header == header);
    }
    CHECK(wire_object_bytes(0) == 384);
    CHECK(wire_object_bytes(1) == 384 + 32 + 1);
    CHECK(wire_object_bytes(payload_block_bytes + 1) == 384 + 64 + payload_block_bytes + 1);
}

TEST_CASE("payload object: every field stands where the table says") {
    const Bytes payload = random_bytes(100);
    const Bytes object = encode_payload(alice, example_header(), payload);
    auto at = [&](size_t offset, ByteSpan bytes) {
        return std::equal(bytes.begin(), bytes.end(), object.begin() + static_cast<std::ptrdiff_t>(offset));
    };
    CHECK(at(0, as_bytes("TMPLGRAD")));
    CHECK(at(8, Bytes{1, 0, 0, 0, 0x80, 1, 0, 0}));
    CHECK(at(16, digest("run")));
    CHECK(at(48, Bytes{8, 7, 6, 5, 4, 3, 2, 1}));
    CHECK(at(56, alice.hotkey()));
    CHECK(at(88, digest("root")));
    CHECK(at(120, digest("layout")));
    CHECK(at(152, Bytes{0x15, 0xcd, 0x5b, 0x07, 0, 0, 0, 0}));
    CHECK(at(160, Bytes{100, 0, 0, 0, 0, 0, 0, 0}));
    CHECK(at(168, sha256(sha256(payload))));
    CHECK(at(200, digest("possession")));
    CHECK(at(232, Bytes{77, 0, 0, 0, 0, 0, 0, 0}));
    CHECK(at(240, digest("head")));
    Signature signature;
    std::copy_n(object.begin() + 272, 64, signature.begin());
    CHECK(verify(alice.hotkey(), "payload", ByteSpan(object).first(272), signature));
    CHECK(at(336, Bytes(48, 0)));
    CHECK(at(384, sha256(payload)));
    CHECK(at(416, payload));
}

TEST_CASE("payload object: every single flipped bit is refused") {
    Bytes object = encode_payload(alice, example_header(), random_bytes(150));
    for (size_t bit = 0; bit < object.size() * 8; ++bit) {
        object[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        refused(object, expectation(150));
        object[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
    CHECK_NOTHROW(decode_payload(object, expectation(150)));
}

TEST_CASE("payload object: a wrong field is named, with what was expected and found") {
    const Bytes payload = random_bytes(200);
    const Bytes object = encode_payload(alice, example_header(), payload);
    auto with_header = [&](auto change) {
        PayloadHeader header = example_header();
        change(header);
        return encode_payload(alice, header, payload);
    };
    refused(with_header([](PayloadHeader& h) { h.run_id = digest("other"); }), expectation(200),
            "run: expected " + to_hex(digest("run")) + ", found " + to_hex(digest("other")));
    refused(with_header([](PayloadHeader& h) { h.window = 3; }), expectation(200),
            "window: expected 72623859790382856, found 3");
    refused(with_header([](PayloadHeader& h) { h.layout = digest("other"); }), expectation(200),
            "layout: expected");
    refused(encode_payload(bob, example_header(), payload), expectation(200),
            "hotkey: expected " + to_hex(alice.hotkey()));
    // What bob signed under alice's name.
    Bytes stolen = encode_payload(bob, example_header(), payload);
    std::copy(alice.hotkey().begin(), alice.hotkey().end(), stolen.begin() + 56);
    refused(stolen, expectation(200), "signature: expected one by " + to_hex(alice.hotkey()));
    // Alice's signature, but of another kind of object.
    Bytes other_kind = object;
    const Signature signature = alice.sign("commit", ByteSpan(object).first(272));
    std::copy(signature.begin(), signature.end(), other_kind.begin() + 272);
    refused(other_kind, expectation(200), "signature");

    auto with_byte = [&](size_t offset, uint8_t byte) {
        Bytes changed = object;
        changed[offset] = byte;
        return changed;
    };
    refused(with_byte(0, 'X'), expectation(200), "magic: expected TMPLGRAD");
    refused(with_byte(8, 2), expectation(200), "version: expected 1, found 2");
    refused(with_byte(12, 0), expectation(200), "header bytes: expected 384, found 256");
    refused(with_byte(336, 1), expectation(200), "padding: expected zeros");
    refused(with_byte(383, 1), expectation(200), "padding: expected zeros");
    refused(with_byte(384, object[384] ^ 1), expectation(200), "block hashes: expected");
    refused(with_byte(object.size() - 1, object.back() ^ 1), expectation(200),
            "block 0 of 1: expected SHA-256");
    for (uint8_t byte : {0x00, 0xff}) {  // absurd lengths
        Bytes changed = object;
        std::fill_n(changed.begin() + 160, 8, byte);
        refused(changed, expectation(200), "length: expected 200, found");
    }
    // The number of the damaged block is told.
    const Bytes large = random_bytes(2 * payload_block_bytes + 100);
    Bytes damaged = encode_payload(alice, example_header(), large);
    damaged[384 + 96 + payload_block_bytes + 5] ^= 1;
    refused(damaged, expectation(2 * payload_block_bytes + 100), "block 1 of 3");
}

TEST_CASE("payload object: cut, padded or of another length") {
    const Bytes object = encode_payload(alice, example_header(), random_bytes(150));
    for (size_t size = 0; size < object.size(); ++size) {
        refused(ByteSpan(object).first(size), expectation(150), "bytes: expected 566, found");
        // As long as its reader expects, yet cut.
        if (size > 416)
            refused(ByteSpan(object).first(size), expectation(static_cast<int64_t>(size) - 416), "length");
    }
    Bytes longer = object;
    longer.push_back(0);
    refused(longer, expectation(150), "bytes: expected 566, found 567");
    refused(longer, expectation(151), "length: expected 151, found 150");
    refused(object, expectation(0));
    refused(object, expectation(payload_block_bytes * 1000));
    refused(Bytes(566, 0), expectation(150), "magic");
    refused(random_bytes(566), expectation(150), "magic");
}
