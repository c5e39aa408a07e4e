// The line that stands between documents in a text file.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

namespace templar {

inline constexpr std::string_view separator_name = "<|endoftext|>";
inline constexpr size_t longest_separator_line = separator_name.size() + 2;  // with \r\n

struct SeparatorLine {
    size_t begin, end;  // with its line end
};

// The first line at or after `from` that holds only <|endoftext|>. `at_line_start`: a line begins with the text;
// `is_end`: nothing follows the text, so that it ends a line too.
inline std::optional<SeparatorLine> find_separator(std::string_view text, size_t from, bool at_line_start,
                                                   bool is_end) {
    for (size_t at = text.find(separator_name, from); at != std::string_view::npos;
         at = text.find(separator_name, at)) {
        const size_t begin = at;
        at += separator_name.size();
        if (begin > 0 ? text[begin - 1] != '\n' : !at_line_start) continue;
        if (at < text.size() && text[at] == '\r') ++at;
        if (at < text.size() ? text[at] == '\n' : is_end) return SeparatorLine{begin, std::min(at + 1, text.size())};
    }
    return std::nullopt;
}

}  // namespace templar
