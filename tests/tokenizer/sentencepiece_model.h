// sentencepiece models made by hand, for the tokenizer tests.
#pragma once

#include "base/bytes.h"
#include "tokenizer/sentencepiece.h"

#include <fmt/format.h>

namespace templar::testing {

// Protocol Buffers' wire format, to write models with.
inline std::string varint(uint64_t value) {
    std::string bytes;
    for (; value > 127; value >>= 7) bytes += static_cast<char>(static_cast<uint8_t>(value | 0x80));
    return bytes + static_cast<char>(static_cast<uint8_t>(value));
}
inline std::string number(int field, uint64_t value) {
    return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
inline std::string message(int field, const std::string& bytes) {
    return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}
inline std::string real(int field, float value) {
    ByteWriter bits;
    bits.put(std::bit_cast<uint32_t>(value));
    return varint(static_cast<uint64_t>(field) << 3 | 5) + std::string(as_text(bits.bytes()));
}
inline std::string piece(const std::string& text, float score, SentencePiece::Type type = SentencePiece::Type::normal) {
    return message(1, message(1, text) + real(2, score) + number(3, static_cast<uint64_t>(type)));
}

inline constexpr int bpe = 2;
inline std::string trainer(bool byte_fallback) {
    return message(2, number(3, bpe) + number(35, byte_fallback));
}
inline std::string normalizer(bool prefix, bool remove_extra) {
    return message(3, message(1, "identity") + number(3, prefix) + number(4, remove_extra));
}

// <unk> <s> </s>, 256 bytes, ▁ a b c, ab bc ▁a abc: ids 259 and up.
inline std::string small_model() {
    using Type = SentencePiece::Type;
    std::string model =
        piece("<unk>", 0, Type::unknown) + piece("<s>", 0, Type::control) + piece("</s>", 0, Type::control);
    for (int byte = 0; byte < 256; ++byte) model += piece(fmt::format("<0x{:02X}>", byte), 0, Type::byte);
    model += piece("▁", -10) + piece("a", -11) + piece("b", -12) + piece("c", -13);
    model += piece("ab", -2) + piece("bc", -1) + piece("▁a", -3) + piece("abc", -4);
    return model + trainer(true) + normalizer(true, false);
}
enum : int32_t { space = 259, a, b, c, ab, bc, space_a, abc };

// A double array with the rules A -> "b", AB -> "" and ! -> "  ".
inline std::string small_charsmap() {
    constexpr uint32_t has_leaf = 0x100, leaf = 0x80000000;
    std::vector<uint32_t> units(0x400, leaf);  // what no byte leads to
    units[0] = 0x100 << 10;
    units[0x100 ^ 'A'] = (0x141 ^ 0x200) << 10 | has_leaf | 'A';
    units[0x200] = leaf | 0;
    units[0x200 ^ 'B'] = (0x242 ^ 0x300) << 10 | has_leaf | 'B';
    units[0x300] = leaf | 1;
    units[0x100 ^ '!'] = (0x121 ^ 0x380) << 10 | has_leaf | '!';
    units[0x380] = leaf | 3;
    ByteWriter bytes;
    bytes.put(static_cast<uint32_t>(4 * units.size()));
    for (const uint32_t unit : units) bytes.put(unit);
    return std::string(as_text(bytes.bytes())) + std::string("b\0\0  \0", 6);
}

}  // namespace templar::testing
