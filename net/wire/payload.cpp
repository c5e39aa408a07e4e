#include "net/wire/payload.h"

#include "base/error.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace templar {

namespace {

constexpr std::string_view magic = "TMPLGRAD";
constexpr uint32_t version = 1;
constexpr size_t signature_offset = 272;
constexpr std::string_view what = "payload object";

int64_t block_count(int64_t payload_bytes) {
    return (payload_bytes + payload_block_bytes - 1) / payload_block_bytes;
}

// Bytes 0…271 of the header: what is signed.
Bytes signed_bytes(const PayloadHeader& header) {
    ByteWriter writer;
    writer.put_bytes(as_bytes(magic));
    writer.put(version);
    writer.put(static_cast<uint32_t>(payload_header_bytes));
    writer.put_bytes(header.run_id);
    writer.put(header.window);
    writer.put_bytes(header.hotkey);
    writer.put_bytes(header.root);
    writer.put_bytes(header.layout);
    writer.put(header.tokens);
    writer.put(header.length);
    writer.put_bytes(header.blocks);
    writer.put_bytes(header.possession);
    writer.put(header.ledger_sequence);
    writer.put_bytes(header.ledger_head);
    return writer.take();
}

template <class Value>
void expect(std::string_view field, const Value& expected, const Value& found) {
    if (found == expected) return;
    if constexpr (std::is_integral_v<Value>)
        fail(ExitCode::input, "{}: {}: expected {}, found {}", what, field, expected, found);
    else
        fail(ExitCode::input, "{}: {}: expected {}, found {}", what, field, to_hex(expected), to_hex(found));
}

// Bytes 0…271, checked against what the reader knows.
PayloadHeader read_header(ByteReader& reader, const PayloadExpectation& expected) {
    if (as_text(reader.get_bytes(magic.size())) != magic)
        fail(ExitCode::input, "{}: magic: expected {}, found something else", what, magic);
    expect("version", version, reader.get<uint32_t>());
    expect("header bytes", static_cast<uint32_t>(payload_header_bytes), reader.get<uint32_t>());
    PayloadHeader header;
    expect("run", expected.run_id, header.run_id = reader.get_array<32>());
    expect("window", expected.window, header.window = reader.get<uint64_t>());
    expect("hotkey", expected.hotkey, header.hotkey = reader.get_array<32>());
    header.root = reader.get_array<32>();
    expect("layout", expected.layout, header.layout = reader.get_array<32>());
    header.tokens = reader.get<uint64_t>();
    expect("length", static_cast<uint64_t>(expected.payload_bytes), header.length = reader.get<uint64_t>());
    header.blocks = reader.get_array<32>();
    header.possession = reader.get_array<32>();
    header.ledger_sequence = reader.get<uint64_t>();
    header.ledger_head = reader.get_array<32>();
    return header;
}

bool overlap(ByteRange a, ByteRange b) {
    return a.begin < b.end && b.begin < a.end;
}

bool covered(const std::vector<ByteRange>& ranges, ByteRange range) {
    return range.begin == range.end || std::any_of(ranges.begin(), ranges.end(), [&](const ByteRange& r) {
               return r.begin <= range.begin && range.end <= r.end;
           });
}

void add(std::vector<ByteRange>& ranges, ByteRange added) {
    std::erase_if(ranges, [&added](const ByteRange& r) {
        if (r.end < added.begin || added.end < r.begin) return false;
        added = {std::min(r.begin, added.begin), std::max(r.end, added.end)};
        return true;
    });
    ranges.push_back(added);
}

void remove(std::vector<ByteRange>& ranges, ByteRange removed) {
    std::vector<ByteRange> left;
    for (const ByteRange& r : ranges) {
        const ByteRange before{r.begin, std::min(r.end, removed.begin)};
        const ByteRange after{std::max(r.begin, removed.end), r.end};
        if (before.begin < before.end) left.push_back(before);
        if (after.begin < after.end) left.push_back(after);
    }
    ranges = std::move(left);
}

ByteSpan bytes_of(ByteSpan object, ByteRange range) {
    return object.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.end - range.begin));
}

}  // namespace

int64_t wire_object_bytes(int64_t payload_bytes) {
    return payload_header_bytes + block_count(payload_bytes) * 32 + payload_bytes;
}

Bytes encode_payload(const Identity& author, PayloadHeader header, ByteSpan payload) {
    const auto size = static_cast<int64_t>(payload.size());
    Bytes hashes;
    hashes.reserve(static_cast<size_t>(block_count(size)) * 32);
    for (ByteSpan rest = payload; !rest.empty();) {
        const ByteSpan block = rest.first(std::min(rest.size(), static_cast<size_t>(payload_block_bytes)));
        const Digest hash = sha256(block);
        hashes.insert(hashes.end(), hash.begin(), hash.end());
        rest = rest.subspan(block.size());
    }
    header.hotkey = author.hotkey();
    header.length = payload.size();
    header.blocks = sha256(hashes);

    Bytes object = signed_bytes(header);
    const Signature signature = author.sign("payload", object);
    object.reserve(static_cast<size_t>(wire_object_bytes(size)));
    object.insert(object.end(), signature.begin(), signature.end());
    object.resize(payload_header_bytes, 0);
    object.insert(object.end(), hashes.begin(), hashes.end());
    object.insert(object.end(), payload.begin(), payload.end());
    return object;
}

WirePayload decode_payload(ByteSpan object, const PayloadExpectation& expected) {
    return PayloadCheck(expected).take(Bytes(object.begin(), object.end()));
}

PayloadCheck::PayloadCheck(const PayloadExpectation& expected) : expected_(expected) {
    if (expected.payload_bytes < 0) throw std::invalid_argument("PayloadCheck: payload_bytes is negative");
    right_.assign(static_cast<size_t>(block_count(expected.payload_bytes)), false);
}

ByteRange PayloadCheck::block(int64_t number) const {
    const int64_t end = wire_object_bytes(expected_.payload_bytes);
    const int64_t begin = end - expected_.payload_bytes + number * payload_block_bytes;
    return {begin, std::min(begin + payload_block_bytes, end)};
}

Digest PayloadCheck::expected_hash(ByteSpan object, int64_t number) const {
    Digest hash;
    std::copy_n(object.begin() + payload_header_bytes + number * 32, hash.size(), hash.begin());
    return hash;
}

void PayloadCheck::check_front(ByteSpan object) {
    ByteReader reader(object, what);
    const PayloadHeader header = read_header(reader, expected_);
    const auto signature = reader.get_array<64>();
    const ByteSpan padding = reader.get_bytes(payload_header_bytes - signature_offset - signature.size());
    if (std::any_of(padding.begin(), padding.end(), [](uint8_t byte) { return byte != 0; }))
        fail(ExitCode::input, "{}: padding: expected zeros, found something else", what);
    if (!verify(header.hotkey, "payload", object.first(signature_offset), signature))
        fail(ExitCode::input, "{}: signature: expected one by {}, found one that does not verify", what,
             to_hex(header.hotkey));
    expect("block hashes", header.blocks, sha256(reader.get_bytes(right_.size() * 32)));
    header_ = header;
}

std::vector<ByteRange> PayloadCheck::operator()(ByteSpan object, ByteRange arrived) {
    expect("bytes", wire_object_bytes(expected_.payload_bytes), static_cast<int64_t>(object.size()));
    const ByteRange front{0, wire_object_bytes(expected_.payload_bytes) - expected_.payload_bytes};
    if (arrived.end == 0) {  // from the start again
        arrived_.clear();
        header_.reset();
        right_.assign(right_.size(), false);
        return {};
    }
    add(arrived_, arrived);
    if (overlap(arrived, front)) {
        header_.reset();
        right_.assign(right_.size(), false);
    }
    if (!header_) {
        if (!covered(arrived_, front)) return {};
        check_front(object);
    }
    std::vector<ByteRange> wrong;
    for (size_t i = 0; i < right_.size(); ++i) {
        const ByteRange range = block(static_cast<int64_t>(i));
        if (overlap(arrived, range)) right_[i] = false;
        if (right_[i] || !covered(arrived_, range)) continue;
        right_[i] = sha256(bytes_of(object, range)) == expected_hash(object, static_cast<int64_t>(i));
        if (!right_[i]) wrong.push_back(range);
    }
    for (const ByteRange& range : wrong) remove(arrived_, range);
    return wrong;
}

WirePayload PayloadCheck::take(Bytes object) && {
    expect("bytes", wire_object_bytes(expected_.payload_bytes), static_cast<int64_t>(object.size()));
    if (!header_) {
        check_front(object);
        right_.assign(right_.size(), false);
    }
    for (size_t i = 0; i < right_.size(); ++i) {
        if (right_[i]) continue;
        const Digest hash = sha256(bytes_of(object, block(static_cast<int64_t>(i))));
        const Digest expected = expected_hash(object, static_cast<int64_t>(i));
        if (hash != expected)
            fail(ExitCode::input, "{}: block {} of {}: expected SHA-256 {}, found {}", what, i, right_.size(),
                 to_hex(expected), to_hex(hash));
    }
    return {*header_, std::move(object)};
}

}  // namespace templar
