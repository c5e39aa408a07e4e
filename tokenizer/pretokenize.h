// The split of text into pre-tokens, the pieces inside which BPE merges, by the patterns of several models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace templar {

enum class Split : uint8_t {
    gpt2,           // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    single_digits,  // every \p{N} alone, then as GPT-2 what lies between (SmolLM)
    llama3,         // (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
                    //     \s*[\r\n]+|\s+(?!\S)|\s+
    qwen2           // as Llama-3, but \p{N} for \p{N}{1,3}
};

// The end of the pre-token that starts at text[begin], which must be the beginning of one; begin < text.size(). A byte
// that is not part of valid UTF-8 counts as a character that is neither space nor letter nor number, so that any bytes
// can be split.
size_t pretoken_end(std::string_view text, size_t begin, Split split = Split::gpt2);

}  // namespace templar
