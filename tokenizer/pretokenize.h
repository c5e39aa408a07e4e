// GPT-2's split of text into pre-tokens, the pieces inside which BPE merges:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
#pragma once

#include <cstddef>
#include <string_view>

namespace templar {

// The end of the pre-token that starts at text[begin]; begin < text.size(). A byte that is not part of valid
// UTF-8 counts as a character of the third kind (neither space nor letter nor number), so that any bytes can
// be split.
size_t pretoken_end(std::string_view text, size_t begin);

}  // namespace templar
