// Real models: llama2.c's form against Hugging Face's, and there and back.
#include "base/error.h"
#include "tests/data/folder.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "engine/model/llama.h"
#include "kernels/bf16.h"
#include "node/model_folder.h"
#include "tokenizer/tokenizer.h"

#include <doctest/doctest.h>

#include <cstring>
#include <span>

using namespace templar;
using namespace templar::test;

namespace {

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Of the reference batch, row after row.
std::vector<float> logits(const SavedModel& saved) {
    const Bytes bytes = read_file(data_folder() / "reference/stories260K/batch_tokens_4x129.u16", 1 << 20);
    std::vector<int32_t> tokens;
    for (size_t row = 0; row < 4; ++row)
        for (size_t i = 0; i < 128; ++i) {
            const uint8_t* id = &bytes[2 * (129 * row + i)];
            tokens.push_back(id[0] | id[1] << 8);
        }
    const std::unique_ptr<Device> device = cpu_device();
    Llama model(*device, saved.config, 4, 128, Pass::inference);
    DeviceArray weights(*device, DType::f32, std::ssize(saved.params));
    weights.upload(saved.params);
    std::vector<float> out(tokens.size() * static_cast<size_t>(saved.config.vocab_size));
    model.logits(weights.tensor(), tokens, out);
    return out;
}

}  // namespace

TEST_CASE("stories260K: the llama2.c file holds the same bits as the Hugging Face directory") {
    const SavedModel tied = load_model(data_folder() / "models/stories260K/stories260K.bin");
    const SavedModel untied = load_model(data_folder() / "models/stories260K");
    CHECK(tied.config.tie_word_embeddings);
    CHECK(!untied.config.tie_word_embeddings);
    LlamaConfig config = untied.config;
    config.tie_word_embeddings = true;
    CHECK(tied.config == config);
    CHECK(tied.seq == untied.seq);
    CHECK(tied.begin_token == 1);
    CHECK(untied.end_token == 2);
    CHECK(tied.tokenizer.filename() == "tok512.bin");

    // The head, a copy of the embedding, is the last tensor.
    const auto embedding = static_cast<size_t>(config.vocab_size * config.hidden_size);
    const std::span<const float> all = untied.params;
    REQUIRE(all.size() == tied.params.size() + embedding);
    CHECK(same_bits(all.first(tied.params.size()), tied.params));
    CHECK(same_bits(all.last(embedding), all.first(embedding)));
}

TEST_CASE("stories260K: exported and loaded again it gives the same logits, bit for bit") {
    const TemporaryFolder folder;
    for (const char* source : {"models/stories260K", "models/stories260K/stories260K.bin"}) {
        CAPTURE(source);
        const SavedModel model = load_model(data_folder() / source);
        const std::vector<float> expected = logits(model);
        const std::filesystem::path tokenizer = data_folder() / "models/stories260K/tok512.bin";
        const auto out = folder.path() / (model.config.tie_word_embeddings ? "tied" : "untied");
        write_model_folder(model, out, {.weights = {.dtype = DType::f32}, .tokenizer = tokenizer});
        const SavedModel again = load_model(out);
        CHECK(again.config == model.config);
        CHECK(same_bits(logits(again), expected));
        CHECK(load_tokenizer(again.tokenizer)->encode("Once upon a time") ==
              load_tokenizer(tokenizer)->encode("Once upon a time"));

        const auto half = folder.path() / (out.filename().string() + "-bf16");
        write_model_folder(model, half, {.weights = {.dtype = DType::bf16}, .tokenizer = tokenizer});
        std::vector<float> rounded = model.params;
        for (float& value : rounded) value = to_float(to_bf16(value));
        CHECK(same_bits(load_model(half).params, rounded));
    }
}

TEST_CASE("stories260K does not go with Llama 2's tokenizer, nor with GPT-2's") {
    const TemporaryFolder folder;
    const SavedModel model = load_model(data_folder() / "models/stories260K");
    for (const char* name : {"llama2", "gpt2"})
        CHECK_THROWS_AS(
            write_model_folder(model, folder.path() / name, {.tokenizer = data_folder() / "tokenizers" / name}), Error);
    CHECK(std::filesystem::is_empty(folder.path()));
}
