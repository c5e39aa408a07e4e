#include "eval/text.h"

#include "tokenizer/utf8.h"

namespace templar {

namespace {

// str.isspace(), which is also \s of its regular expressions.
bool is_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

char32_t lower(char32_t c) {
    const bool even = c % 2 == 0;
    if (c >= 'A' && c <= 'Z') return c + 32;
    if (c >= 0xc0 && c <= 0xde && c != 0xd7) return c + 32;
    if ((c >= 0x100 && c <= 0x12f) || (c >= 0x132 && c <= 0x137) || (c >= 0x14a && c <= 0x177)) return even ? c + 1 : c;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) return even ? c : c + 1;
    if (c == 0x178) return 0xff;
    if (c == 0x386) return 0x3ac;
    if (c >= 0x388 && c <= 0x38a) return c + 37;
    if (c == 0x38c) return 0x3cc;
    if (c == 0x38e || c == 0x38f) return c + 63;
    if (c >= 0x391 && c <= 0x3ab && c != 0x3a2) return c + 32;
    if (c >= 0x400 && c <= 0x40f) return c + 80;
    if (c >= 0x410 && c <= 0x42f) return c + 32;
    return c;
}

char32_t upper(char32_t c) {
    if (c == 0xff) return 0x178;
    for (const char32_t distance : {32, 1, 80, 37, 63, 38, 64})
        if (c > distance && lower(c - distance) == c) return c - distance;
    return c;
}

}  // namespace

size_t trailing_space(std::string_view text) {
    size_t end = text.size();
    while (end > 0) {
        size_t begin = end - 1;
        while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xc0) == 0x80) --begin;
        if (!is_space(utf8_at(text, begin).code)) break;
        end = begin;
    }
    return text.size() - end;
}

std::string_view strip(std::string_view text) {
    text.remove_suffix(trailing_space(text));
    size_t at = 0;
    while (at < text.size()) {
        const Utf8Char c = utf8_at(text, at);
        if (!is_space(c.code)) break;
        at += static_cast<size_t>(c.length);
    }
    return text.substr(at);
}

std::string capitalize(std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_at(text, at);
        const char32_t changed = at == 0 ? upper(c.code) : lower(c.code);
        if (c.valid && changed != c.code)
            append_utf8(out, changed);
        else
            out += text.substr(at, static_cast<size_t>(c.length));
        at += static_cast<size_t>(c.length);
    }
    return out;
}

int64_t characters(std::string_view text) {
    int64_t count = 0;
    for (const char byte : text) count += (static_cast<uint8_t>(byte) & 0xc0) != 0x80;
    return count;
}

int64_t words(std::string_view text) {
    int64_t count = 1;
    bool in_space = false;
    for (size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_at(text, at);
        const bool space = c.valid && is_space(c.code);
        count += space && !in_space;
        in_space = space;
        at += static_cast<size_t>(c.length);
    }
    return count;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    for (size_t at = 0;;) {
        const size_t found = text.find(from, at);
        out += text.substr(at, found - at);
        if (found == text.npos) return out;
        out += to;
        at = found + from.size();
    }
}

}  // namespace templar
