#include "tokenizer/pretokenize.h"

#include "tokenizer/utf8.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

namespace templar {

namespace {

enum class Kind : uint8_t { space, letter, number, other };

struct Range {
    char32_t first, last;
};

#include "tokenizer/unicode_ranges.inc"

bool contains(std::span<const Range> ranges, char32_t code) {
    const auto after =
        std::upper_bound(ranges.begin(), ranges.end(), code,
                         [](char32_t value, const Range& range) { return value < range.first; });
    return after != ranges.begin() && code <= std::prev(after)->last;
}

// White_Space beyond ASCII; the property has not changed since Unicode 6.3.
bool is_wide_space(char32_t code) {
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

constexpr std::array<Kind, 128> ascii_kinds = [] {
    std::array<Kind, 128> kinds{};
    for (int c = 0; c < 128; ++c)
        kinds[static_cast<size_t>(c)] = c == ' ' || (c >= '\t' && c <= '\r')               ? Kind::space
                                        : (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? Kind::letter
                                        : c >= '0' && c <= '9'                             ? Kind::number
                                                                                           : Kind::other;
    return kinds;
}();

struct Character {
    Kind kind;
    size_t length;
};

Character character_at(std::string_view text, size_t at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    if (byte < 0x80) return {ascii_kinds[byte], 1};
    const Utf8Char c = utf8_at(text, at);
    const auto length = static_cast<size_t>(c.length);
    if (!c.valid) return {Kind::other, length};
    if (contains(letters, c.code)) return {Kind::letter, length};
    if (is_wide_space(c.code)) return {Kind::space, length};
    return {contains(numbers, c.code) ? Kind::number : Kind::other, length};
}

// Length of 's 't 're 've 'm 'll 'd at the start of text (which starts with '), 0 when it is none of them.
size_t contraction(std::string_view text) {
    if (text.size() < 2) return 0;
    const char c = text[1];
    if (c == 's' || c == 't' || c == 'm' || c == 'd') return 2;
    const std::string_view two = text.substr(1, 2);
    return two == "re" || two == "ve" || two == "ll" ? 3 : 0;
}

}  // namespace

size_t pretoken_end(std::string_view text, size_t begin) {
    if (text[begin] == '\'') {
        if (const size_t length = contraction(text.substr(begin))) return begin + length;
    }
    Character c = character_at(text, begin);
    size_t end = begin + c.length;
    if (text[begin] == ' ' && end < text.size()) {
        const Character next = character_at(text, end);
        if (next.kind != Kind::space) {
            c = next;
            end += c.length;
        }
    }
    size_t last = c.length;
    while (end < text.size()) {
        const Character next = character_at(text, end);
        if (next.kind != c.kind) break;
        last = next.length;
        end += last;
    }
    // \s+(?!\S): of several spaces before a word the last one is left to what follows.
    const bool several_spaces = c.kind == Kind::space && end - begin > last;
    return several_spaces && end < text.size() ? end - last : end;
}

}  // namespace templar
