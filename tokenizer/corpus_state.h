// progress.json: how far an unfinished corpus is, and which command makes it.
#pragma once

#include "tokenizer/shards.h"

namespace templar {

// One input as it was when it was begun.
struct InputState {
    std::string path;
    Form form = Form::text;
    int64_t bytes = -1;        // -1: a pipe
    int64_t modified_ns = -1;  // Unix epoch

    bool operator==(const InputState&) const = default;
};
// Throws Error(input) when it is missing or empty.
InputState state_of(const Input& input);

struct CorpusCommand {
    Digest tokenizer{};
    std::string field;
    Separator separator = Separator::end;
    int64_t shard_tokens = 0;
    double heldout_share = 0;
    bool raw = false;
};

struct CorpusState {
    CorpusCommand command;
    std::vector<InputState> inputs;
    Position position;
    bool encoded = false;  // all of it; dividing it is what is left
    int64_t tokens = 0, documents = 0, text_bytes = 0;
    std::vector<ShardInfo> finished;  // files of tokens, all of them "train" as yet
    std::vector<ShardInfo> divided;   // what they will be: "train" and "heldout", which is written by then
};

std::string state_to_json(const CorpusState& state);
CorpusState state_from_json(std::string_view json, std::string_view what);  // strict; throws Error(input)

// Throws Error(input) saying what differs unless `now` (with nothing done) is the command that began `before`. Inputs
// that have not been begun may have changed meanwhile, and so may the one being read: what was read of it is checked
// when reading.
void check_same_command(const CorpusState& before, const CorpusState& now, const std::string& folder);

}  // namespace templar
