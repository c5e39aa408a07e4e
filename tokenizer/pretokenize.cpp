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
    const auto after = std::upper_bound(ranges.begin(), ranges.end(), code,
                                        [](char32_t value, const Range& range) { return value < range.first; });
    return after != ranges.begin() && code <= std::prev(after)->last;
}

// White_Space beyond ASCII; the property has not changed since Unicode 6.3.
bool is_wide_space(char32_t code) {
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
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

// The end of the run of one kind that begins at `at`.
size_t run_end(std::string_view text, size_t at, Kind kind) {
    while (at < text.size()) {
        const Character next = character_at(text, at);
        if (next.kind != kind) break;
        at += next.length;
    }
    return at;
}

bool is_newline(char c) {
    return c == '\r' || c == '\n';
}

// Of a run of spaces: \s+(?!\S)|\s+ leaves the last one of several to what follows.
size_t spaces_end(std::string_view text, size_t begin, bool breaks_at_numbers) {
    size_t end = begin, last = begin;
    while (end < text.size()) {
        const Character next = character_at(text, end);
        if (next.kind == Kind::number && breaks_at_numbers) return end;
        if (next.kind != Kind::space) return last > begin ? last : end;
        last = end;
        end += next.length;
    }
    return end;
}

size_t gpt2_end(std::string_view text, size_t begin, bool single_digits) {
    if (text[begin] == '\'')
        if (const size_t length = contraction(text.substr(begin))) return begin + length;
    Character c = character_at(text, begin);
    size_t end = begin + c.length;
    if (text[begin] == ' ' && end < text.size()) {
        const Character next = character_at(text, end);
        if (next.kind != Kind::space && !(single_digits && next.kind == Kind::number)) {
            c = next;
            end += c.length;
        }
    }
    if (c.kind == Kind::number && single_digits) return end;
    return c.kind == Kind::space ? spaces_end(text, begin, single_digits) : run_end(text, end, c.kind);
}

// (?i:'s|…): also of U+017F, the long s, which is an s to a pattern that ignores case.
size_t any_case_contraction(std::string_view text) {
    if (text.substr(1).starts_with("\u017f")) return 3;
    std::array<char, 3> lower{};
    for (size_t i = 0; i < std::min<size_t>(3, text.size()); ++i)
        lower[i] = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + ('a' - 'A')) : text[i];
    return contraction({lower.data(), std::min<size_t>(3, text.size())});
}

size_t llama3_end(std::string_view text, size_t begin, int digits) {
    if (text[begin] == '\'')
        if (const size_t length = any_case_contraction(text.substr(begin))) return begin + length;
    const Character c = character_at(text, begin);
    size_t end = begin + c.length;
    if (c.kind == Kind::letter) return run_end(text, end, Kind::letter);
    if (c.kind == Kind::number) {
        for (int i = 1; i < digits && end < text.size(); ++i) {
            const Character next = character_at(text, end);
            if (next.kind != Kind::number) break;
            end += next.length;
        }
        return end;
    }
    const Character next = end < text.size() ? character_at(text, end) : Character{Kind::space, 0};
    if (next.kind == Kind::letter && !is_newline(text[begin])) return run_end(text, end, Kind::letter);
    if (c.kind == Kind::other || (text[begin] == ' ' && next.kind == Kind::other)) {
        end = run_end(text, end, Kind::other);
        while (end < text.size() && is_newline(text[end])) ++end;
        return end;
    }
    // White space up to its last newline, or else as GPT-2's.
    for (size_t last = run_end(text, end, Kind::space); last > begin; --last)
        if (is_newline(text[last - 1])) return last;
    return spaces_end(text, begin, false);
}

}  // namespace

size_t pretoken_end(std::string_view text, size_t begin, Split split) {
    switch (split) {
        case Split::llama3:
            return llama3_end(text, begin, 3);
        case Split::qwen2:
            return llama3_end(text, begin, 1);
        default:
            return gpt2_end(text, begin, split == Split::single_digits);
    }
}

}  // namespace templar
