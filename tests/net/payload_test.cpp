#include "net/wire/payload.h"

#include "base/random.h"
#include "tests/net/error_code.h"

#include <algorithm>

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
        CHECK(decoded.object == object);
        CHECK(std::ranges::equal(decoded.payload(), payload));
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

namespace {

// A transfer: the bytes of `source` come part by part into a buffer, and `check` looks at each.
struct Transfer {
    explicit Transfer(const Bytes& source, int64_t payload_bytes)
        : source(source), buffer(source.size(), 0xee), check(expectation(payload_bytes)) {}

    std::vector<ByteRange> arrive(int64_t begin, int64_t end) {
        std::copy(source.begin() + begin, source.begin() + end, buffer.begin() + begin);
        return check(buffer, {begin, end});
    }
    int64_t size() const { return static_cast<int64_t>(source.size()); }

    Bytes source, buffer;
    PayloadCheck check;
};

constexpr int64_t three_and_some = 3 * payload_block_bytes + 17;
constexpr int64_t front = payload_header_bytes + 4 * 32;

}  // namespace

TEST_CASE("payload check: parts of any size in any order, none wrong, every block hashed once") {
    const Bytes object = encode_payload(alice, example_header(), random_bytes(three_and_some));
    CounterRng rng(digest("order"));
    for (const int64_t part : {int64_t{100'000}, payload_block_bytes / 3, payload_block_bytes,
                               payload_block_bytes + 1, int64_t{1} << 30})
        for (const bool shuffled : {false, true}) {
            Transfer transfer(object, three_and_some);
            std::vector<ByteRange> parts;
            for (int64_t begin = 0; begin < transfer.size(); begin += part)
                parts.push_back({begin, std::min(begin + part, transfer.size())});
            for (size_t i = parts.size(); shuffled && i > 1; --i)
                std::swap(parts[i - 1], parts[rng.below(i)]);
            for (const ByteRange& range : parts) CHECK(transfer.arrive(range.begin, range.end).empty());
            // What happens to the bytes from here on goes unseen.
            for (int64_t at = front; at < transfer.size(); at += payload_block_bytes)
                transfer.buffer[static_cast<size_t>(at)] ^= 1;
            CHECK(transfer.check(transfer.buffer, {front, front}).empty());
            const Bytes changed = transfer.buffer;
            const WirePayload taken = std::move(transfer.check).take(std::move(transfer.buffer));
            CHECK(taken.header == decode_payload(object, expectation(three_and_some)).header);
            CHECK(taken.object == changed);
            CHECK(std::ranges::equal(taken.payload(), ByteSpan(changed).subspan(front)));
        }
    for (const int64_t size : {0, 1}) {
        const Bytes small = encode_payload(alice, example_header(), random_bytes(static_cast<size_t>(size)));
        Transfer transfer(small, size);
        for (int64_t i = transfer.size(); i-- > 0;) CHECK(transfer.arrive(i, i + 1).empty());
        CHECK(std::move(transfer.check).take(transfer.buffer).object == small);
    }
}

TEST_CASE("payload check: a damaged block comes back until it is right") {
    const Bytes object = encode_payload(alice, example_header(), random_bytes(three_and_some));
    const ByteRange second{front + payload_block_bytes, front + 2 * payload_block_bytes};
    const ByteRange last{front + 3 * payload_block_bytes, static_cast<int64_t>(object.size())};
    const std::vector<ByteRange> only_second{second}, both{second, last};

    Transfer transfer(object, three_and_some);
    transfer.source[static_cast<size_t>(second.begin) + 5] ^= 1;
    transfer.source.back() ^= 1;
    CHECK(transfer.arrive(front, last.end).empty());  // nothing can be judged yet
    CHECK(transfer.arrive(0, front) == both);

    transfer.source.back() ^= 1;
    CHECK(transfer.arrive(last.begin, last.end).empty());
    CHECK(transfer.arrive(second.begin, second.end) == only_second);
    CHECK(transfer.arrive(second.begin, second.end) == only_second);  // the caller bounds the tries
    CHECK(code_of([&] { PayloadCheck(transfer.check).take(transfer.buffer); }, "block 1 of 4: expected") ==
          ExitCode::input);
    transfer.source[static_cast<size_t>(second.begin) + 5] ^= 1;
    // In two pieces, the damaged byte's first: only the second completes the block.
    CHECK(transfer.arrive(second.begin, second.begin + 100).empty());
    CHECK(transfer.arrive(second.begin + 100, second.end).empty());
    CHECK(std::move(transfer.check).take(transfer.buffer).object == object);
}

TEST_CASE("payload check: bytes that come again are judged again") {
    const Bytes object = encode_payload(alice, example_header(), random_bytes(three_and_some));
    Transfer transfer(object, three_and_some);
    CHECK(transfer.arrive(0, transfer.size()).empty());
    transfer.source[front + 7] ^= 1;
    const std::vector<ByteRange> first{{front, front + payload_block_bytes}};
    CHECK(transfer.arrive(front, front + 8) == first);
    transfer.source[front + 7] ^= 1;
    CHECK(transfer.arrive(front, front + payload_block_bytes).empty());
    // Another object, as well made as the first: every block is held against the hashes that came with it.
    PayloadHeader header = example_header();
    ++header.tokens;
    transfer.source = encode_payload(alice, header, Bytes(three_and_some, 7));
    CHECK(transfer.arrive(0, front).size() == 4);
    CHECK(transfer.arrive(front, transfer.size()).empty());
    const WirePayload taken = PayloadCheck(transfer.check).take(transfer.buffer);
    CHECK(taken.object == transfer.source);
    CHECK(taken.header.tokens == header.tokens);
    transfer.source[88] ^= 1;
    CHECK(code_of([&] { transfer.arrive(88, 89); }, "signature") == ExitCode::input);
}

TEST_CASE("payload check: a liar is found out as soon as the front is there") {
    const Bytes object = encode_payload(alice, example_header(), random_bytes(three_and_some));
    auto refused_at_front = [&](Bytes changed, std::string_view mentions) {
        Transfer transfer(changed, three_and_some);
        CHECK(transfer.arrive(200, front).empty());
        CHECK(code_of([&] { transfer.arrive(0, 200); }, mentions) == ExitCode::input);
    };
    auto with_byte = [&](size_t offset) {
        Bytes changed = object;
        changed[offset] ^= 1;
        return changed;
    };
    refused_at_front(with_byte(0), "magic");
    refused_at_front(with_byte(16), "run: expected");
    refused_at_front(with_byte(88), "signature");  // the root: signed, for the caller to judge
    refused_at_front(with_byte(272), "signature");
    refused_at_front(with_byte(383), "padding");
    refused_at_front(with_byte(384), "block hashes");
    refused_at_front(with_byte(front - 1), "block hashes");
    refused_at_front(encode_payload(bob, example_header(), random_bytes(three_and_some)), "hotkey");

    PayloadCheck check(expectation(three_and_some));
    CHECK(code_of(
              [&] {
                  check(ByteSpan(object).first(1000), {0, 1000});
              },
              "bytes: expected") == ExitCode::input);
    CHECK(code_of([&] { PayloadCheck(check).take(Bytes(1000)); }, "bytes: expected") == ExitCode::input);
    // What never came is checked when it is taken.
    CHECK(PayloadCheck(check).take(object).object == object);
    CHECK(code_of([&] { PayloadCheck(check).take(with_byte(front)); }, "block 0 of 4") == ExitCode::input);
}
