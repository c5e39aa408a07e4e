// A payload object that arrives in parts, in any order, some of them twice: what PayloadCheck says of it is
// what decode_payload says of the whole.
//   <flags><u16 size><u8 changes>{<u16 place><u8 xor>}…{<u16 begin><u16 length><u8 source>}…
// flags: 1, 2, 4 as in payload_object.cpp; 8 at the end everything comes once more, unchanged.
// source: 1 this part comes unchanged; 2 it is grown to whole blocks.
#include "tests/fuzz/payload_example.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

struct Arrival {
    Bytes clean, sent;  // what its author encoded, what is sent
    int64_t payload_bytes;
    Bytes buffer;
    std::vector<ByteRange> missing;
    PayloadCheck check;

    explicit Arrival(Bytes object)
        : clean(std::move(object)),
          sent(clean),
          payload_bytes(static_cast<int64_t>(payload_length(clean))),
          buffer(clean.size()),
          missing{{0, std::ssize(clean)}},
          check(expectation(payload_bytes)) {}

    int64_t front() const { return std::ssize(clean) - payload_bytes; }

    bool is_there(const ByteRange& range) const {
        return std::ranges::none_of(
            missing, [&](const ByteRange& gap) { return gap.begin < range.end && range.begin < gap.end; });
    }
    void take_from_missing(const ByteRange& range) {
        std::vector<ByteRange> left;
        for (const ByteRange& gap : missing) {
            const ByteRange before{gap.begin, std::min(gap.end, range.begin)};
            const ByteRange after{std::max(gap.begin, range.end), gap.end};
            if (before.begin < before.end) left.push_back(before);
            if (after.begin < after.end) left.push_back(after);
        }
        missing = std::move(left);
    }

    // False when the check gave the object up.
    bool arrive(int64_t begin, int64_t end, bool unchanged) {
        if (begin >= end) return true;
        const Bytes& from = unchanged ? clean : sent;
        std::copy(from.begin() + begin, from.begin() + end, buffer.begin() + begin);
        take_from_missing({begin, end});
        try {
            for (const ByteRange& wrong : check(buffer, {begin, end})) check_wrong(wrong);
            return true;
        } catch (const Error& error) {
            require(is_there({0, front()}), "a transfer ends when the front is there");
            require(verdict_of_whole() == error.what(), "a transfer ends for what is wrong with the whole");
            return false;
        }
    }

    void check_wrong(const ByteRange& range) const {
        require(range.begin >= front() && range.end <= std::ssize(buffer) && range.begin < range.end &&
                    (range.begin - front()) % payload_block_bytes == 0,
                "what is fetched again is a block");
        require(is_there(range), "only what has arrived is fetched again");
        const auto hash_at = payload_header_bytes + (range.begin - front()) / payload_block_bytes * 32;
        const Digest hash = sha256(ByteSpan(buffer).subspan(static_cast<size_t>(range.begin),
                                                            static_cast<size_t>(range.end - range.begin)));
        require(!std::equal(hash.begin(), hash.end(), buffer.begin() + hash_at),
                "a block that is right is not fetched again");
    }

    // Why decode_payload refuses what is in the buffer; "" when it does not.
    std::string verdict_of_whole() const {
        try {
            check_accepted(decode_payload(buffer, expectation(payload_bytes)), buffer, payload_bytes);
            return "";
        } catch (const Error& error) {
            return error.what();
        }
    }
    std::string verdict_of_check() {
        try {
            check_accepted(std::move(check).take(buffer), buffer, payload_bytes);
            return "";
        } catch (const Error& error) {
            return error.what();
        }
    }
};

// Begin and end of the part, in bytes of the object.
std::pair<int64_t, int64_t> part(const Arrival& arrival, uint16_t begin, uint16_t length, bool whole_blocks) {
    const int64_t size = std::ssize(arrival.clean), unit = size / 65536 + 1;
    int64_t first = begin * unit % size;
    int64_t end = first + length * unit % (size - first) + 1;
    if (whole_blocks && first >= arrival.front()) {
        first -= (first - arrival.front()) % payload_block_bytes;
        end += (payload_block_bytes - (end - arrival.front()) % payload_block_bytes) % payload_block_bytes;
    }
    return {first, std::min(end, size)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const uint8_t flags = input.number();
    Arrival arrival(example(flags & 4, input.number<uint16_t>()));
    const size_t changes = input.number();
    const ByteSpan changed = input.bytes(changes * 3);
    Input change_input(changed.data(), changed.size());
    change(arrival.sent, change_input);
    if (flags & 1) fit_hashes(arrival.sent, static_cast<size_t>(arrival.payload_bytes));
    if (flags & 2) fit_signature(arrival.sent);

    constexpr int most_parts = 20;
    for (int i = 0; i < most_parts && !input.empty(); ++i) {
        const auto begin = input.number<uint16_t>(), length = input.number<uint16_t>();
        const uint8_t source = input.number();
        const auto [first, end] = part(arrival, begin, length, source & 2);
        if (!arrival.arrive(first, end, source & 1)) return 0;
    }
    while (!arrival.missing.empty())
        if (!arrival.arrive(arrival.missing.front().begin, arrival.missing.front().end, false)) return 0;
    if ((flags & 8) && !arrival.arrive(0, std::ssize(arrival.clean), true)) return 0;
    const std::string verdict = arrival.verdict_of_check();
    require(verdict == arrival.verdict_of_whole(), "the parts are judged as the whole is");
    require(!(flags & 8) || verdict.empty(), "what arrived unchanged in the end is accepted");
    return 0;
}
