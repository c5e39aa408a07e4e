#include "eval/generate.h"

#include "base/error.h"
#include "tokenizer/utf8.h"

#include <algorithm>

namespace templar {

namespace {

int32_t first_of(std::initializer_list<int32_t> tokens) {
    for (const int32_t token : tokens)
        if (token >= 0) return token;
    return -1;
}

// Whether the bytes may be the beginning of a character whose end is still to come.
bool begins_character(std::string_view bytes) {
    const auto lead = static_cast<uint8_t>(bytes[0]);
    const size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                          : lead >= 0xe0 && lead < 0xf0 ? 3
                          : lead >= 0xf0 && lead < 0xf5 ? 4
                                                        : 0;
    return bytes.size() < length &&
           std::ranges::all_of(bytes.substr(1), [](char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; });
}

bool is_control(char32_t code) {
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0);
}

}  // namespace

std::vector<int32_t> prompt_tokens(const SavedModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                                   std::optional<bool> begin) {
    const int32_t begin_token = first_of({tokenizer.begin_token(), model.begin_token});
    const int32_t end_token = first_of({tokenizer.end_token(), model.end_token});
    const bool usual = tokenizer.begin_token() >= 0 || (begin_token >= 0 && begin_token != end_token);
    if (begin.value_or(false) && begin_token < 0)
        fail(ExitCode::input, "neither the tokenizer nor the model has a begin token: leave --bos out");
    std::vector<int32_t> tokens;
    if (begin.value_or(usual)) tokens.push_back(begin_token);
    tokenizer.encode(prompt, tokens);
    if (tokens.empty()) tokens.push_back(first_of({end_token, begin_token}));
    if (tokens[0] < 0)
        fail(ExitCode::input,
             "the prompt is empty, and there is no token that stands between documents: give a prompt");
    return tokens;
}

std::vector<int32_t> stop_tokens(const SavedModel& model, const Tokenizer& tokenizer) {
    std::vector<int32_t> stop;
    for (const int32_t token : {tokenizer.end_token(), model.end_token, tokenizer.begin_token(), model.begin_token})
        if (token >= 0) stop.push_back(token);
    return stop;
}

std::span<const float> feed_prompt(Decoder& decoder, Tensor weights, std::span<const int32_t> tokens,
                                   const std::function<bool(int64_t fed)>& on_piece) {
    constexpr auto piece = static_cast<size_t>(Decoder::most_at_once);
    size_t fed = 0;
    for (; tokens.size() - fed > piece; fed += piece) {
        decoder.feed(weights, tokens.subspan(fed, piece));
        if (!on_piece(static_cast<int64_t>(fed + piece))) return {};
    }
    return decoder.feed(weights, tokens.subspan(fed));
}

Stopped generate(Decoder& decoder, Tensor weights, Sampler& sampler, std::span<const float> logits,
                 const GenerateOptions& options, const std::function<bool(int32_t token)>& on_token) {
    for (int64_t made = 0; made < options.tokens; ++made) {
        const int32_t token = sampler.next(logits.first(static_cast<size_t>(options.vocab_size)));
        if (std::ranges::find(options.stop, token) != options.stop.end()) return Stopped::end;
        if (!on_token(token)) return Stopped::asked;
        if (made + 1 == options.tokens) break;
        if (decoder.length() == decoder.capacity()) return Stopped::length;
        logits = decoder.feed(weights, std::span(&token, 1));
    }
    return Stopped::tokens;
}

std::string CharacterStream::add(std::string_view bytes) {
    waiting_ += bytes;
    return take(false);
}

std::string CharacterStream::finish() {
    return take(true);
}

std::string CharacterStream::take(bool all) {
    constexpr std::string_view replacement = "\xef\xbf\xbd";
    std::string text;
    size_t at = 0;
    while (at < waiting_.size()) {
        const Utf8Char c = utf8_at(waiting_, at);
        if (!c.valid && !all && begins_character(std::string_view(waiting_).substr(at))) break;
        if (!c.valid || (controls_ == Controls::replace && is_control(c.code)))
            text += replacement;
        else
            text.append(waiting_, at, static_cast<size_t>(c.length));
        at += static_cast<size_t>(c.length);
    }
    waiting_.erase(0, at);
    return text;
}

}  // namespace templar
