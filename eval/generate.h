// Text from a model: what a prompt is in tokens, the loop that adds one after another, and how they are shown.
#pragma once

#include "engine/model/decoder.h"
#include "engine/model/sampler.h"
#include "tokenizer/tokenizer.h"
#include "weights/saved_model.h"

#include <functional>
#include <optional>
#include <string>

namespace templar {

// The prompt's tokens after a begin token: the tokenizer's, else the model's. begin: whether to put it there; none:
// where the tokenizer has one, or the model has one that is not also its end token (GPT-2's prompts have none). A
// prompt without any token is what stands between documents. Throws Error(input) when there is neither text nor such a
// token.
std::vector<int32_t> prompt_tokens(const SavedModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                                   std::optional<bool> begin);

// Tokens after which a document is over: the end tokens and the begin tokens of model and tokenizer.
std::vector<int32_t> stop_tokens(const SavedModel& model, const Tokenizer& tokenizer);

// Feeds a prompt of at least one token in pieces of Decoder::most_at_once, so that it can be watched and stopped.
// on_piece is told how many tokens were fed, but for the last piece; false: no more. The logits after the prompt;
// empty: on_piece said so.
std::span<const float> feed_prompt(Decoder& decoder, Tensor weights, std::span<const int32_t> tokens,
                                   const std::function<bool(int64_t fed)>& on_piece);

struct GenerateOptions {
    int64_t tokens = 256;         // at most
    int64_t vocab_size = 0;       // the tokenizer's: only the first so many of all logits count
    std::vector<int32_t> stop{};  // tokens that end the text, and do not belong to it
};
enum class Stopped {
    end,     // by a stop token
    tokens,  // at the asked number
    length,  // at the decoder's capacity
    asked    // on_token said so
};
// Adds tokens to what the decoder was fed; logits: those after it. on_token is told each; false: no more.
Stopped generate(Decoder& decoder, Tensor weights, Sampler& sampler, std::span<const float> logits,
                 const GenerateOptions& options, const std::function<bool(int32_t token)>& on_token);

// Text that arrives in pieces of any bytes, given on in whole UTF-8 characters. A byte that is part of none becomes
// U+FFFD.
class CharacterStream {
  public:
    // What a control character other than newline and tab could do to a terminal (colours, the cursor, its title).
    enum class Controls { keep, replace };  // by U+FFFD
    explicit CharacterStream(Controls controls) : controls_(controls) {}

    // What is complete by now; up to three bytes wait for the rest of their character.
    std::string add(std::string_view bytes);
    // What is left at the end.
    std::string finish();

  private:
    std::string take(bool all);
    Controls controls_;
    std::string waiting_;
};

}  // namespace templar
