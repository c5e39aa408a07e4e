// UTF-8, one character at a time, strictly as RFC 3629: no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace templar {

struct Utf8Char {
    char32_t code = 0;  // meaningless when !valid
    int length = 1;     // bytes; 1 when !valid
    bool valid = false;
};

// The character at text[at]; at < text.size().
inline Utf8Char utf8_at(std::string_view text, size_t at) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
    const uint8_t lead = byte(0);
    if (lead < 0x80) return {lead, 1, true};
    const int length = lead >= 0xc2 && lead < 0xe0   ? 2
                       : lead >= 0xe0 && lead < 0xf0 ? 3
                       : lead >= 0xf0 && lead < 0xf5 ? 4
                                                     : 0;
    if (length == 0 || text.size() - at < static_cast<size_t>(length)) return {};
    char32_t code = lead & (0x7f >> length);
    for (int i = 1; i < length; ++i) {
        if ((byte(static_cast<size_t>(i)) & 0xc0) != 0x80) return {};
        code = code << 6 | (byte(static_cast<size_t>(i)) & 0x3f);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return {};
    return {code, length, true};
}

// Where the first byte lies that is not part of valid UTF-8; npos when there is none.
inline size_t find_invalid_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        // Most text is ASCII: eight bytes at once.
        uint64_t eight;
        if (text.size() - at >= sizeof eight &&
            (std::memcpy(&eight, text.data() + at, sizeof eight), (eight & 0x8080808080808080) == 0)) {
            at += sizeof eight;
            continue;
        }
        const Utf8Char c = utf8_at(text, at);
        if (!c.valid) return at;
        at += static_cast<size_t>(c.length);
    }
    return std::string_view::npos;
}

// code: at most U+10FFFF and no surrogate.
inline void append_utf8(std::string& out, char32_t code) {
    const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(static_cast<uint8_t>(byte))); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
        put(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            put(0xe0 | code >> 12);
        } else {
            put(0xf0 | code >> 18);
            put(0x80 | (code >> 12 & 0x3f));
        }
        put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
}

}  // namespace templar
