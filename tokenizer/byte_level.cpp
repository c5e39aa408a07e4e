#include "tokenizer/byte_level.h"

#include "tokenizer/utf8.h"

#include <array>

namespace templar {

namespace {

constexpr char32_t spellings = 0x144;  // one above the highest character used

struct Spelling {
    std::array<char32_t, 256> of_byte{};
    std::array<int, spellings> byte_of{};  // -1: stands for no byte
};

// Printable Latin-1 characters stand for themselves; the other bytes, in order, for U+0100 and up.
constexpr Spelling spelling = [] {
    Spelling table;
    table.byte_of.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
        const bool printable =
            (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        const char32_t code = printable ? static_cast<char32_t>(byte) : next++;
        table.of_byte[static_cast<size_t>(byte)] = code;
        table.byte_of[code] = byte;
    }
    return table;
}();

}  // namespace

std::string to_byte_level(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        const char32_t code = spelling.of_byte[static_cast<uint8_t>(c)];
        if (code >= 0x80) text.push_back(static_cast<char>(static_cast<uint8_t>(0xc0 | code >> 6)));
        text.push_back(static_cast<char>(static_cast<uint8_t>(code < 0x80 ? code : 0x80 | (code & 0x3f))));
    }
    return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
    std::string bytes;
    for (size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_at(text, at);
        if (!c.valid || c.code >= spellings || spelling.byte_of[c.code] < 0) return std::nullopt;
        bytes.push_back(static_cast<char>(static_cast<uint8_t>(spelling.byte_of[c.code])));
        at += static_cast<size_t>(c.length);
    }
    return bytes;
}

}  // namespace templar
