// The held-out part of a corpus: taken from the end of what has been encoded, so that no size need be known before.
#pragma once

#include "tokenizer/token_files.h"

namespace templar {

// Which token the held-out part begins with: the rule of ShardOptions::heldout_share (> 0). Throws Error(input) when
// either part would have nothing but separators.
int64_t heldout_start(TokenReader& tokens, const Tokenizer& tokenizer, Separator separator, double share);

// Copies the tokens from `start` on into held-out files. Returns all files as they will be: those that are train alone,
// cut at `start`, then the held-out ones. Throws Error(storage).
std::vector<ShardInfo> copy_heldout(const std::filesystem::path& folder, const TokenLayout& layout,
                                    const std::vector<ShardInfo>& files, int64_t start);

// Makes the train files what copy_heldout said: cuts one, removes those behind it. Done twice it is the same.
void cut_train(const std::filesystem::path& folder, const TokenLayout& layout, const std::vector<ShardInfo>& files,
               const std::vector<ShardInfo>& divided);

}  // namespace templar
