#include "weights/llama2c.h"

#include "tests/weights/model_files.h"

using namespace templar;
using namespace templar::test;

namespace {

struct Sizes {
    int32_t dim = 12, hidden_dim = 20, layers = 2, heads = 3, kv_heads = 1, vocab_size = 17, seq = 5;
};

Bytes header(const Sizes& sizes) {
    ByteWriter writer;
    for (int32_t size :
         {sizes.dim, sizes.hidden_dim, sizes.layers, sizes.heads, sizes.kv_heads, sizes.vocab_size, sizes.seq})
        writer.put(size);
    return writer.take();
}

// The numbers 0, 1, 2, … as weights.
Bytes numbered_file(const Sizes& sizes, size_t count) {
    Bytes file = header(sizes);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
    const Bytes data = bytes_of(values);
    file.insert(file.end(), data.begin(), data.end());
    return file;
}

constexpr size_t in_layer = 12 * 12 * 2 + 12 * 4 * 2 + 3 * 12 * 20 + 2 * 12;
constexpr size_t tied_values = 17 * 12 + 2 * in_layer + 12, tables = 5 * 4;

float at(const LlamaConfig& config, const std::vector<float>& params, std::string_view name, int64_t row,
         int64_t column) {
    for (const Parameter& p : llama_parameters(config))
        if (p.name == name) return params[static_cast<size_t>(p.offset + row * p.shape.back() + column)];
    throw std::out_of_range(std::string(name));
}

std::string refused(const Bytes& bytes) {
    return refusal([&] { llama2c_config(bytes, "a.bin"); });
}

}  // namespace

TEST_CASE("llama2.c: every matrix is where run.c has it, q and k with the halves of a head apart") {
    const Bytes file = numbered_file({}, tied_values + tables);
    const HuggingFaceConfig config = llama2c_config(file, "a.bin");
    const LlamaConfig& model = config.model;
    CHECK(model.head_dim == 4);
    CHECK(model.kv_heads == 1);
    CHECK(model.rms_norm_eps == 1e-5f);
    CHECK(model.tie_word_embeddings);
    CHECK(config.seq == 5);
    CHECK(config.begin_token == 1);
    const std::vector<float> params = llama2c_weights(file, model);

    // Offsets as in run.c's memory_map_weights: a kind of all layers after the other.
    size_t offset = 0;
    auto next = [&offset](size_t size) { return static_cast<float>(std::exchange(offset, offset + size)); };
    CHECK(at(model, params, "model.embed_tokens.weight", 3, 5) == next(17 * 12) + 3 * 12 + 5);
    const float attention_norm = next(2 * 12), q = next(2 * 144), k = next(2 * 48), v = next(2 * 48), o = next(2 * 144),
                ffn_norm = next(2 * 12), gate = next(2 * 240), down = next(2 * 240), up = next(2 * 240),
                norm = next(12);
    CHECK(offset == tied_values);
    const std::string layer = "model.layers.1.";
    CHECK(at(model, params, layer + "input_layernorm.weight", 0, 7) == attention_norm + 12 + 7);
    CHECK(at(model, params, layer + "post_attention_layernorm.weight", 0, 7) == ffn_norm + 12 + 7);
    CHECK(at(model, params, layer + "self_attn.v_proj.weight", 2, 11) == v + 48 + 2 * 12 + 11);
    CHECK(at(model, params, layer + "self_attn.o_proj.weight", 9, 1) == o + 144 + 9 * 12 + 1);
    CHECK(at(model, params, layer + "mlp.gate_proj.weight", 19, 2) == gate + 240 + 19 * 12 + 2);
    CHECK(at(model, params, layer + "mlp.down_proj.weight", 3, 19) == down + 240 + 3 * 20 + 19);
    CHECK(at(model, params, layer + "mlp.up_proj.weight", 0, 0) == up + 240);
    CHECK(at(model, params, "model.norm.weight", 0, 4) == norm + 4);
    // Rows 0 1 2 3 of a head are pairs (0, 1), (2, 3); here pairs are (0, 2), (1, 3).
    const int64_t old_row[] = {0, 2, 1, 3};
    for (int64_t row = 0; row < 12; ++row)
        CHECK(at(model, params, layer + "self_attn.q_proj.weight", row, 6) ==
              q + 144 + static_cast<float>((row / 4 * 4 + old_row[row % 4]) * 12 + 6));
    for (int64_t row = 0; row < 4; ++row)
        CHECK(at(model, params, layer + "self_attn.k_proj.weight", row, 0) ==
              k + 48 + static_cast<float>(old_row[row] * 12));
}

TEST_CASE("llama2.c: a negative vocabulary is an untied head, after the tables") {
    const Bytes file = numbered_file({.vocab_size = -17}, tied_values + tables + 17 * 12);
    const HuggingFaceConfig config = llama2c_config(file, "a.bin");
    CHECK(!config.model.tie_word_embeddings);
    CHECK(config.model.vocab_size == 17);
    const std::vector<float> params = llama2c_weights(file, config.model);
    CHECK(at(config.model, params, "lm_head.weight", 1, 2) == static_cast<float>(tied_values + tables + 12 + 2));
}

TEST_CASE("llama2.c: files that are cut, longer, or say what cannot be") {
    const Bytes good = numbered_file({}, tied_values + tables);
    for (size_t length = 0; length < good.size(); length += 1 + length / 40)
        CHECK(refused(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length))).starts_with("a.bin"));
    Bytes longer = good;
    longer.push_back(0);
    CHECK(has(refused(longer), fmt::format("expected {} bytes", good.size())));
    CHECK(has(refused(numbered_file({.vocab_size = -17}, tied_values + tables)), "bytes after the sizes"));

    constexpr int32_t most = std::numeric_limits<int32_t>::max(), least = std::numeric_limits<int32_t>::min();
    for (int32_t Sizes::*size : {&Sizes::dim, &Sizes::hidden_dim, &Sizes::layers, &Sizes::heads, &Sizes::kv_heads,
                                 &Sizes::vocab_size, &Sizes::seq})
        for (int32_t value : {0, -1, 1 << 20, most, least}) {
            if (size == &Sizes::vocab_size && value == 17) continue;
            Sizes sizes;
            sizes.*size = value;
            Bytes file = good;
            const Bytes front = header(sizes);
            std::copy(front.begin(), front.end(), file.begin());
            CHECK(refused(file).starts_with("a.bin"));
        }
    CHECK(has(refused(numbered_file({.dim = 0x616b3432}, 10)), "later form"));
}
