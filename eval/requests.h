// Texts become sequences of tokens of which the last few are scored: lm-eval 0.4.9's rules.
#pragma once

#include "tokenizer/tokenizer.h"

namespace templar {

// `scored` of the tokens, from the end, have their log-likelihood summed, each given all before it.
struct Request {
    std::vector<int32_t> tokens;  // at most the model's length and one: the last is only predicted
    int64_t scored = 0;
    int64_t context = 0;  // tokens before them, those that did not fit included

    // What the model sees.
    std::span<const int32_t> inputs() const { return std::span(tokens).first(tokens.size() - 1); }
};

struct RequestRules {
    int64_t length = 0;  // tokens that the model sees at once
    // What an empty context is replaced by, and what a text begins after; -1: there is none.
    int32_t prefix = -1;
    // Put `prefix` before every text that is encoded. After an empty context, and in a text's windows, it then follows
    // another and is scored: the harness's add_bos_token=True does so.
    bool bos = false;
};

// White space at the end of the context moves to the continuation; the continuation's tokens are what encode(context +
// continuation) has after as many tokens as encode(context) has; what is too long loses its front. Throws Error(input)
// when the continuation has no token, or more than the model can see, or an empty context meets no prefix.
Request make_request(const Tokenizer& tokenizer, const RequestRules& rules, std::string_view context,
                     std::string_view continuation);

// A document as windows of at most rules.length tokens that score each of its tokens once. The first begins with the
// prefix. Every window after it sees at least `overlap` tokens before the first that it scores (lm-eval: 1), the last
// one as many as there is room for. Throws Error(input) when there is no prefix or overlap is not in [1, length].
std::vector<Request> make_windows(const Tokenizer& tokenizer, const RequestRules& rules, std::string_view document,
                                  int64_t overlap);

}  // namespace templar
