// Text of a real model, beside what others compute and print.
#include "base/error.h"
#include "base/file.h"
#include "eval/generate.h"
#include "tests/cpu.h"
#include "tests/data/folder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

using namespace templar;
using namespace templar::test;

namespace {

template <class T>
std::vector<T> numbers_in(const std::filesystem::path& path) {
    const MappedFile file(path);
    std::vector<T> numbers(file.bytes().size() / sizeof(T));
    std::memcpy(numbers.data(), file.bytes().data(), numbers.size() * sizeof(T));
    return numbers;
}

// The model's own text, up to `tokens` of it; a folder's tokenizer is the llama2.c one beside it.
std::string story(const char* file, const std::string& prompt, int64_t tokens, double temperature = 0) {
    const SavedModel model = load_model(data_folder() / "models/stories260K" / file);
    const auto tokenizer = load_tokenizer(data_folder() / "models/stories260K/tok512.bin");
    const std::vector<int32_t> begin = prompt_tokens(model, *tokenizer, prompt, {});
    Decoder decoder(cpu(2), model.config, model.seq);
    Sampler sampler({.temperature = temperature});
    CharacterStream stream(CharacterStream::Controls::keep);
    std::string text = stream.add(prompt);
    const GenerateOptions options{tokens, tokenizer->vocab_size(), stop_tokens(model, *tokenizer)};
    generate(decoder, flat(model.params), sampler, decoder.feed(flat(model.params), begin), options,
             [&](int32_t token) {
                 text += stream.add(text.empty() ? tokenizer->decode({token}) : tokenizer->token_text(token));
                 return true;
             });
    return text + stream.finish();
}

// What llama2.c's run.c prints for stories260K.bin with -z tok512.bin -t 0 -n 256, compiled with -Ofast and with -O1. A
// loop in numpy that follows its rules gives the same ids in double and in single precision, no choice closer than 0.0018
// (logits).
constexpr const char* once_upon_a_time =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
    "big, "
    "red ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park.\" Lily "
    "was "
    "sad and didn't know what to do. She said, \"I want to play with your ball, but I can't find it.\"\nLily was sad "
    "and "
    "didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\nLily didn't want to help her "
    "mom, so "
    "she said, \"I'm sorry, mom. I didn't know what to do.\" Her mom said, \"Don't worry, Lily. We can help you.";
// The same for -n 200.
constexpr const char* red_cat =
    "Tim had a red cat named Max. Max loved to play with his toys. One day, Max saw a big, red cat. He wanted to play "
    "with "
    "it, but he was too small. Max wanted to play with the cat, but he was too small.\nMax said, \"Don't worry, Max. I "
    "will "
    "help you.\" Max said, \"No, Max. I will help you.\" Max was happy to help Max. They played together and had "
    "fun.\nAfter "
    "a while, Max saw a big, scary cat. Max was very happy. He said, \"Thank you, Ma";

}  // namespace

TEST_CASE("stories260K: the logits of the reference batch, token by token and in parts") {
    const SavedModel model = load_model(data_folder() / "models/stories260K");
    const auto tokens = numbers_in<uint16_t>(data_folder() / "reference/stories260K/batch_tokens_4x129.u16");
    const auto want = numbers_in<float>(data_folder() / "reference/stories260K/batch_logits_4x128x512.f32");
    REQUIRE(tokens.size() == 4 * 129);
    REQUIRE(want.size() == size_t{4} * 128 * 512);
    Decoder decoder(cpu(2), model.config, 128);
    for (const size_t at_a_time : {1, 32, 128}) {
        CAPTURE(at_a_time);
        double worst = 0;
        for (size_t row = 0; row < 4; ++row) {
            decoder.rewind(0);
            for (size_t i = 0; i < 128; i += at_a_time) {
                const std::vector<int32_t> part(tokens.begin() + std::ptrdiff_t(row * 129 + i),
                                                tokens.begin() + std::ptrdiff_t(row * 129 + i + at_a_time));
                const auto logits = decoder.feed(flat(model.params), part);
                for (size_t v = 0; v < 512; ++v)
                    worst = std::max(worst,
                                     std::abs(static_cast<double>(logits[v]) -
                                              static_cast<double>(want[((row * 128 + i + at_a_time - 1) * 512) + v])));
            }
        }
        CHECK(worst < 1e-4);
        MESSAGE("largest difference of a logit, ", at_a_time, " tokens at a time: ", worst);
    }
}

TEST_CASE("stories260K: the most likely text is llama2.c's, from either form of the model") {
    for (const char* file : {"stories260K.bin", "."}) {
        CAPTURE(file);
        // 256 steps: run.c's first step is the begin token, and each of the prompt's tokens is one.
        CHECK(story(file, "", 256) == once_upon_a_time);
        CHECK(story(file, "Once upon a time", 252) == once_upon_a_time);
        CHECK(story(file, "Tim had a red cat", 200).substr(0, std::strlen(red_cat)) == red_cat);
    }
}
