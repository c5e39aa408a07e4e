// Real models: llama2.c's form against Hugging Face's, and there and back.
#include "base/error.h"
#include "tests/data/folder.h"
#include "weights/saved_model.h"

#include <doctest/doctest.h>

#include <cstring>
#include <span>

using namespace templar;
using namespace templar::test;

namespace {

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
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
