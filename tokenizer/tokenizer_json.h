// What every tokenizer.json has, whatever its kind of BPE.
#pragma once

#include "tokenizer/json_field.h"

#include <optional>
#include <set>
#include <vector>

namespace templar {

// What tokenizer_config.json says; without a value: as tokenizer.json has it.
struct SpecialNames {
    std::optional<std::string> begin, end;  // "": there is none
};

struct TokenizerJson {
    std::vector<std::string> tokens;  // by id, spelled as in the file
    std::set<int32_t> added;     // stand for themselves, not for the bytes or characters that others are spelled in
    std::set<int32_t> searched;  // those of them that are looked for in a text
    std::vector<std::pair<int32_t, int32_t>> merges;  // in order of rank
    int32_t begin_token = -1, end_token = -1;
};

// Throws Error(input) naming the field. A begin and an end token are found by `names`, by the post_processor's
// template, or by the names that are usual; the only special token is an end token.
TokenizerJson read_tokenizer_json(const Field& file, std::string_view what, const SpecialNames& names);

// vocab.json with merges.txt.
TokenizerJson read_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt);

// The file with these members; `pipeline` are the lines from normalizer to decoder but the post_processor, which puts
// the begin token before a text; `model` the members of the model but its vocabulary and merges.
struct TokenizerJsonKind {
    std::string normalizer, pre_tokenizer, decoder, model;
};
std::string write_tokenizer_json(const TokenizerJson& tokenizer, const TokenizerJsonKind& kind);

// Throw Error(input) unless the member is absent, null or as expected.
void check_flag(const Field& part, const std::string& name, bool expected, bool when_absent);
void check_plain_bpe(const Field& model);
bool is_of_type(const Field& part, std::string_view type);

}  // namespace templar
