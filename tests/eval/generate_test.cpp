#include "eval/generate.h"

#include "tests/cpu.h"
#include "tests/eval/toy.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace templar;
using namespace templar::test;

namespace {

SavedModel toy_model(int64_t vocab_size = 259) {
    SavedModel model;
    model.config = {.vocab_size = vocab_size,
                    .hidden_size = 8,
                    .intermediate_size = 16,
                    .layers = 1,
                    .heads = 2,
                    .kv_heads = 1,
                    .head_dim = 4};
    model.seq = 16;
    model.origin = "toy";
    CounterRng rng(sha256(as_bytes("toy")));
    model.params.resize(static_cast<size_t>(parameter_count(model.config)));
    for (float& weight : model.params) weight = static_cast<float>(rng.normal());
    return model;
}

using Tokens = std::vector<int32_t>;
using Controls = CharacterStream::Controls;

std::string streamed(std::string_view bytes, size_t at_a_time, Controls controls = Controls::keep) {
    CharacterStream stream(controls);
    std::string text;
    for (size_t at = 0; at < bytes.size(); at += at_a_time) {
        const std::string shown = stream.add(bytes.substr(at, at_a_time));
        CAPTURE(shown);
        for (size_t i = 0; i < shown.size();) {  // whole characters
            const auto lead = static_cast<uint8_t>(shown[i]);
            const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
            REQUIRE((lead < 0x80 || lead >= 0xc2));
            REQUIRE(i + length <= shown.size());
            i += length;
        }
        text += shown;
    }
    return text + stream.finish();
}

}  // namespace

TEST_CASE("characters come whole, however their bytes arrive") {
    const std::string text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
    for (const size_t at_a_time : {1, 2, 3, 4, 5, 100}) CHECK(streamed(text, at_a_time) == text);
    CharacterStream stream(Controls::keep);
    CHECK(stream.add("x\xf0\x9f\x98") == "x");
    CHECK(stream.add("") == "");
    CHECK(stream.add("\x80y") == "\xf0\x9f\x98\x80y");
    CHECK(stream.finish() == "");
}

TEST_CASE("what is no character is shown as one that says so") {
    const std::string bad = "\xef\xbf\xbd";
    for (const size_t at_a_time : {1, 2, 100}) {
        CHECK(streamed("a\xff"
                       "b",
                       at_a_time) == "a" + bad + "b");
        CHECK(streamed("\x80", at_a_time) == bad);
        CHECK(streamed("\xe2\x82", at_a_time) == bad + bad);            // cut at the end
        CHECK(streamed("\xe2\x82z", at_a_time) == bad + bad + "z");     // and by another
        CHECK(streamed("\xed\xa0\x80", at_a_time) == bad + bad + bad);  // a surrogate
        CHECK(streamed("\xc0\xaf", at_a_time) == bad + bad);
    }
}

TEST_CASE("a terminal is not told what to do") {
    const std::string text = std::string("a\nb\tc\x1b[2J\r\x07\x7f") + "\xc2\x9b" + std::string(1, '\0') + "d";
    const std::string bad = "\xef\xbf\xbd";
    CHECK(streamed(text, 1) == text);
    CHECK(streamed(text, 1, Controls::replace) == "a\nb\tc" + bad + "[2J" + bad + bad + bad + bad + bad + "d");
}

TEST_CASE("a prompt begins with the begin token where there is one of its own") {
    SavedModel model = toy_model();
    const ToyTokenizer with, without(false);
    const int32_t begin = ToyTokenizer::begin, end = ToyTokenizer::end;
    CHECK(prompt_tokens(model, with, "xab", {}) == Tokens{begin, 'x', ToyTokenizer::ab});
    CHECK(prompt_tokens(model, with, "x", false) == Tokens{'x'});
    CHECK(prompt_tokens(model, with, "", {}) == Tokens{begin});
    CHECK(prompt_tokens(model, with, "", false) == Tokens{end});
    CHECK(prompt_tokens(model, without, "x", {}) == Tokens{'x'});
    CHECK(refusal([&] { prompt_tokens(model, without, "", {}); }).find("empty") != std::string::npos);
    CHECK(refusal([&] { prompt_tokens(model, without, "x", true); }).find("begin token") != std::string::npos);
    model.begin_token = 5, model.end_token = 6;
    CHECK(prompt_tokens(model, without, "x", {}) == Tokens{5, 'x'});
    CHECK(prompt_tokens(model, with, "x", {}) == Tokens{begin, 'x'});
    model.end_token = 5;  // one token for both, as GPT-2 has
    CHECK(prompt_tokens(model, without, "x", {}) == Tokens{'x'});
    CHECK(prompt_tokens(model, without, "x", true) == Tokens{5, 'x'});
    CHECK(prompt_tokens(model, without, "", {}) == Tokens{5});
    CHECK(stop_tokens(model, without) == Tokens{5, 5});
    CHECK(stop_tokens(toy_model(), with) == Tokens{end, begin});
}

TEST_CASE("a long prompt is fed in pieces, and no further when it is asked to") {
    const SavedModel model = toy_model();
    const Tensor weights = flat(model.params);
    const auto piece = static_cast<size_t>(Decoder::most_at_once);
    Tokens prompt(2 * piece + 3);
    for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(i * 7 % 259);
    const auto fed = [&](size_t count, size_t most_pieces) {
        Decoder decoder(cpu(), model.config, std::ssize(prompt));
        std::vector<int64_t> told;
        const auto logits = feed_prompt(decoder, weights, std::span(prompt).first(count), [&](int64_t tokens) {
            CHECK(tokens == decoder.length());
            told.push_back(tokens);
            return told.size() < most_pieces;
        });
        return std::pair(std::vector(logits.begin(), logits.end()), told);
    };
    using Told = std::vector<int64_t>;
    Decoder at_once(cpu(), model.config, std::ssize(prompt));
    const auto want = at_once.feed(weights, prompt);
    CHECK(fed(prompt.size(), 100) == std::pair(std::vector(want.begin(), want.end()), Told{256, 512}));
    CHECK(fed(prompt.size(), 2) == std::pair(std::vector<float>{}, Told{256, 512}));
    CHECK(fed(prompt.size(), 1) == std::pair(std::vector<float>{}, Told{256}));
    CHECK(fed(2 * piece, 100).second == Told{256});
    CHECK(fed(piece, 100).second.empty());
    CHECK(fed(1, 100).first.size() == 259);
}

TEST_CASE("a text ends at a stop token, the asked number, the model's length, or when it is asked to") {
    const SavedModel model = toy_model();
    const Tensor weights = flat(model.params);
    const Tokens prompt = {1, 2, 3};
    const auto generated = [&](GenerateOptions options, int64_t capacity, size_t most = 1000) {
        Decoder decoder(cpu(), model.config, capacity);
        Sampler sampler({.temperature = 0});
        options.vocab_size = 259;
        Tokens tokens;
        const Stopped stopped =
            generate(decoder, weights, sampler, decoder.feed(weights, prompt), options, [&](int32_t token) {
                tokens.push_back(token);
                return tokens.size() < most;
            });
        return std::pair(tokens, stopped);
    };
    const auto [all, by_number] = generated({.tokens = 10}, 16);
    CHECK(by_number == Stopped::tokens);
    REQUIRE(all.size() == 10);
    // 3 + 9 tokens are fed for 10: the last is only drawn.
    CHECK(generated({.tokens = 10}, 12) == std::pair(all, Stopped::tokens));
    CHECK(generated({.tokens = 10}, 11) == std::pair(Tokens(all.begin(), all.end() - 1), Stopped::length));
    CHECK(generated({.tokens = 10}, 3) == std::pair(Tokens{all[0]}, Stopped::length));
    CHECK(generated({.tokens = 1}, 16) == std::pair(Tokens{all[0]}, Stopped::tokens));
    CHECK(generated({.tokens = 10}, 16, 2) == std::pair(Tokens{all[0], all[1]}, Stopped::asked));
    CHECK(generated({.tokens = 10, .stop = {258, all[0]}}, 16) == std::pair(Tokens{}, Stopped::end));
    size_t fresh = 1;  // a token that the text has not had before
    while (std::find(all.begin(), all.begin() + std::ptrdiff_t(fresh), all[fresh]) !=
           all.begin() + std::ptrdiff_t(fresh))
        ++fresh;
    CHECK(generated({.tokens = 10, .stop = {all[fresh]}}, 16) ==
          std::pair(Tokens(all.begin(), all.begin() + std::ptrdiff_t(fresh)), Stopped::end));
}

TEST_CASE("tokens that only pad the model are never drawn") {
    SavedModel model = toy_model(300);
    const auto V = static_cast<size_t>(model.config.vocab_size), C = static_cast<size_t>(model.config.hidden_size);
    const Tensor weights = flat(model.params);
    for (const int64_t vocab_size : {300, 259}) {
        // The head's last rows large: without the bound some of them win.
        for (size_t i = 0; i < 41 * C; ++i) model.params[model.params.size() - 1 - i] *= 100;
        Decoder decoder(cpu(), model.config, 16);
        Sampler sampler({.temperature = 0});
        int32_t largest = 0;
        generate(decoder, weights, sampler, decoder.feed(weights, Tokens{1}), {.tokens = 12, .vocab_size = vocab_size},
                 [&](int32_t token) {
                     largest = std::max(largest, token);
                     return true;
                 });
        CHECK((largest >= 259) == (vocab_size == 300));
    }
    CHECK(V == 300);
}
