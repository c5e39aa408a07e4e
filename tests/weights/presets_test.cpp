#include "weights/presets.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace templar;

namespace {

int64_t count(const LlamaConfig& c) {
    const int64_t attention = 2 * (c.heads + c.kv_heads) * c.head_dim * c.hidden_size;
    const int64_t layer = attention + 3 * c.hidden_size * c.intermediate_size + 2 * c.hidden_size;
    return c.vocab_size * c.hidden_size * (c.tie_word_embeddings ? 1 : 2) + c.layers * layer + c.hidden_size;
}

}  // namespace

TEST_CASE("presets have distinct names and possible shapes") {
    std::set<std::string_view> names;
    for (const Preset& preset : presets()) {
        CAPTURE(preset.name);
        CHECK(names.insert(preset.name).second);
        CHECK(&find_preset(preset.name) == &preset);
        CHECK(preset.model.heads % preset.model.kv_heads == 0);
        CHECK(preset.model.head_dim % 2 == 0);
        CHECK(preset.seq > 0);
    }
}

TEST_CASE("templar-1b is the original network's model") {
    const Preset& preset = find_preset("templar-1b");
    CHECK(count(preset.model) == 1'204'881'408);
    CHECK(parameter_count(preset.model) == 1'204'881'408);
    CHECK(llama_parameters(preset.model).size() == 147);
    CHECK(preset.model == LlamaConfig{});
    CHECK(preset.seq == 2048);
}

TEST_CASE("the shapes that others published") {
    const Preset &tiny = find_preset("tinyllama"), &small = find_preset("smollm2-135m");
    CHECK(count(tiny.model) == 1'100'048'384);
    CHECK(parameter_count(tiny.model) == 1'100'048'384);
    CHECK(count(small.model) == 134'515'008);
    CHECK(parameter_count(small.model) == 134'515'008);
    CHECK(small.seq == 8192);
}

TEST_CASE("demo is small enough for a laptop's swarm") {
    CHECK(count(find_preset("demo").model) == 869'504);
    CHECK(count(find_preset("tiny").model) == 151'872);
}

TEST_CASE("an unknown preset is refused with the names there are") {
    try {
        find_preset("templar-1B");
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::usage);
        CHECK(std::string(error.what()).find("tiny, demo, ") != std::string::npos);
    }
}
