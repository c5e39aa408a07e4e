// Python's rules for white space and letters, which the prompts of lm-eval follow. Texts are valid UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace templar {

// Bytes of white space (str.isspace) at the end.
size_t trailing_space(std::string_view text);
// str.strip()
std::string_view strip(std::string_view text);
// str.capitalize(): the first letter in upper case, all others in lower case. Letters of the Latin, Greek and Cyrillic
// alphabets up to U+045F; others stay as they are.
std::string capitalize(std::string_view text);
// len(str): characters, not bytes.
int64_t characters(std::string_view text);
// len(re.split(r"\s+", text)): runs of white space and one; so 1 for an empty text.
int64_t words(std::string_view text);
// str.replace(from, to)
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

}  // namespace templar
