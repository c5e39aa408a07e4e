#include "tokenizer/nfc.h"

#include "tokenizer/utf8.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utf8proc.h>
#include <vector>

namespace templar {

namespace {

constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// Whether a character that begins with the byte may be in another form than C, or change with what is before it. Of
// the bytes left out none does: U+0000 … U+02FF, U+03C0 … U+047F, U+04C0 … U+04FF, U+4000 … U+9FFF, U+B000 … U+CFFF.
constexpr std::array<bool, 256> may_change = [] {
    std::array<bool, 256> bytes{};
    for (size_t byte = 0xcc; byte < 256; ++byte)
        bytes[byte] = !(byte == 0xcf || byte == 0xd0 || byte == 0xd1 || byte == 0xd3 ||
                        (byte >= 0xe4 && byte <= 0xe9) || byte == 0xeb || byte == 0xec);
    return bytes;
}();

// The first such byte at or after `from`; text.size() when there is none.
size_t find_change(std::string_view text, size_t from) {
    while (from < text.size() && !may_change[static_cast<uint8_t>(text[from])]) ++from;
    return from;
}

bool is_nfc_at_a_glance(std::string_view text) {
    return find_change(text, 0) == text.size();
}

int combining_class(int32_t code) {
    return utf8proc_get_property(code)->combining_class;
}

void append_decomposed(char32_t code, std::vector<int32_t>& out) {
    std::array<int32_t, 32> parts{};  // the longest canonical decomposition has four
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<int32_t>(code), parts.data(), parts.size(),
                                               static_cast<utf8proc_option_t>(options | UTF8PROC_DECOMPOSE), &boundary);
    out.insert(out.end(), parts.begin(), parts.begin() + std::clamp<ptrdiff_t>(count, 0, parts.size()));
}

// Marks that follow each other are put in the order of their classes. (utf8proc_decompose does it by exchanging
// neighbours: of a million marks without end.)
void order_marks(std::vector<int32_t>& codes) {
    for (auto begin = codes.begin(); begin != codes.end();) {
        const auto is_mark = [](int32_t code) { return combining_class(code) != 0; };
        begin = std::find_if(begin, codes.end(), is_mark);
        const auto end = std::find_if_not(begin, codes.end(), is_mark);
        std::stable_sort(begin, end, [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
        begin = end;
    }
}

// Of valid UTF-8; `codes` is room to work in.
void append_nfc(std::string_view text, std::vector<int32_t>& codes, std::string& out) {
    codes.clear();
    for (size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_at(text, at);
        append_decomposed(c.code, codes);
        at += static_cast<size_t>(c.length);
    }
    order_marks(codes);
    const auto count = utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), options);
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
        std::array<uint8_t, 4> bytes{};
        const auto length = utf8proc_encode_char(codes[static_cast<size_t>(i)], bytes.data());
        out.append(bytes.begin(), bytes.begin() + length);
    }
}

// Where the part ends that begins at `at`: before the next ASCII character or byte that is not UTF-8; such a byte is a
// part of its own.
size_t part_end(std::string_view text, size_t at) {
    Utf8Char c = utf8_at(text, at);
    if (!c.valid) return at + 1;
    do {
        at += static_cast<size_t>(c.length);
        if (at == text.size()) break;
        c = utf8_at(text, at);
    } while (c.valid && c.length > 1);
    return at;
}

void append_part(std::string_view part, std::vector<int32_t>& codes, std::string& out) {
    if (!utf8_at(part, 0).valid || is_nfc_at_a_glance(part))
        out += part;
    else
        append_nfc(part, codes, out);
}

}  // namespace

std::string_view to_nfc(std::string_view text, std::string& storage) {
    if (is_nfc_at_a_glance(text)) return text;
    storage.clear();
    storage.reserve(text.size());
    std::vector<int32_t> codes;
    for (size_t begin = 0, changing; begin < text.size();) {
        changing = find_change(text, begin);
        size_t first = changing;  // the part's begin: the ASCII character before it
        while (first > begin && first < text.size() && static_cast<uint8_t>(text[first]) >= 0x80) --first;
        storage += text.substr(begin, first - begin);
        for (begin = first; begin <= changing && begin < text.size();) {
            const size_t end = part_end(text, begin);
            append_part(text.substr(begin, end - begin), codes, storage);
            begin = end;
        }
    }
    return storage;
}

}  // namespace templar
