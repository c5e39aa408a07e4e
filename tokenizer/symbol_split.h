// User-defined pieces of sentencepiece in a tokenizer.json where a space is put before a text, or texts are trimmed. As
// added tokens they would divide a text before that, and each part would get a space of its own. So the whole text is
// normalised, then split at them, and the model takes a part that is a token as it stands (ignore_merges).
#pragma once

#include "tokenizer/json_field.h"

#include <vector>

namespace templar {

// The pre_tokenizer: Split by a regular expression of the symbols, the longest first.
std::string write_symbol_split(std::vector<std::string> symbols);
// The symbols; throws Error(input) on anything but what write_symbol_split gives.
std::vector<std::string> read_symbol_split(const Field& pre_tokenizer);

}  // namespace templar
