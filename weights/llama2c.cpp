#include "weights/llama2c.h"

#include "base/error.h"

#include <cstdlib>
#include <stdexcept>

namespace templar {

namespace {

constexpr size_t header_bytes = 7 * sizeof(int32_t);
// Of its later forms, which have another layout.
constexpr int32_t later_magic = 0x616b3432;

// What run.c assumes.
constexpr float rms_norm_eps = 1e-5f;
constexpr float rope_theta = 10000.0f;
constexpr int32_t begin_token = 1, end_token = 2;

// Two tables that newer programs compute, cos and sin of half a head for each position: after the final norm.
int64_t table_values(const LlamaConfig& model, int64_t seq) {
    return seq * model.head_dim;
}

// Takes values from the front of the file.
class Values {
  public:
    explicit Values(ByteSpan bytes) : bytes_(bytes) {}
    void take(std::span<float> out) {
        if (out.size_bytes() > bytes_.size()) throw std::invalid_argument("llama2c_weights: config of another file");
        std::memcpy(out.data(), bytes_.data(), out.size_bytes());
        bytes_ = bytes_.subspan(out.size_bytes());
    }

  private:
    ByteSpan bytes_;
};

// (heads · head_dim, width): row 2i + j of each head becomes row j · head_dim/2 + i.
void interleaved_to_halves(std::span<float> matrix, int64_t head_dim, int64_t width) {
    const std::vector<float> old(matrix.begin(), matrix.end());
    const int64_t rows = std::ssize(matrix) / width;
    for (int64_t row = 0; row < rows; ++row) {
        const int64_t in_head = row % head_dim;
        const int64_t to = row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
        std::copy_n(old.begin() + row * width, width, matrix.begin() + to * width);
    }
}

}  // namespace

HuggingFaceConfig llama2c_config(ByteSpan bytes, std::string_view what) {
    ByteReader reader(bytes, what);
    std::array<int32_t, 7> sizes{};
    for (int32_t& size : sizes) size = reader.get<int32_t>();
    if (sizes[0] == later_magic)
        fail(ExitCode::input, "{}: a later form of llama2.c's checkpoints; export it with --version 0", what);
    const auto [dim, hidden_dim, layers, heads, kv_heads, vocab_size, seq] = sizes;
    if (heads < 1 || dim < 1 || dim % heads != 0)
        fail(ExitCode::input, "{}: expected a llama2.c checkpoint: dim {} is no multiple of n_heads {}", what, dim,
             heads);
    HuggingFaceConfig config{.model = {.vocab_size = std::abs(int64_t{vocab_size}),
                                       .hidden_size = dim,
                                       .intermediate_size = hidden_dim,
                                       .layers = layers,
                                       .heads = heads,
                                       .kv_heads = kv_heads,
                                       .head_dim = dim / heads,
                                       .rms_norm_eps = rms_norm_eps,
                                       .rope_theta = rope_theta,
                                       .tie_word_embeddings = vocab_size > 0},
                             .seq = seq};
    try {
        check_config(config.model);
    } catch (const Error& error) {
        fail(error.code(), "{}: expected a llama2.c checkpoint: {}", what, error.what());
    }
    if (seq < 1) fail(ExitCode::input, "{}: seq_len: expected 1 or more, found {}", what, seq);
    // Before a list is made of as many layers as a header may claim: each has two norms of dim values.
    if (config.model.layers > std::ssize(bytes) / (8 * int64_t{dim}))
        fail(ExitCode::input, "{}: {} bytes, too short for {} layers", what, bytes.size(), layers);
    const int64_t values = parameter_count(config.model) + table_values(config.model, seq);
    if (const int64_t expected = static_cast<int64_t>(header_bytes) + values * 4; std::ssize(bytes) != expected)
        fail(ExitCode::input, "{}: expected {} bytes after the sizes in its header, found {}", what, expected,
             bytes.size());
    if (config.model.vocab_size > end_token) {
        config.begin_token = begin_token;
        config.end_token = end_token;
    }
    return config;
}

std::vector<float> llama2c_weights(ByteSpan bytes, const LlamaConfig& config) {
    const std::vector<Parameter> parameters = llama_parameters(config);
    std::vector<float> params = arena_of_floats(parameter_count(config));
    Values file(bytes.subspan(header_bytes));
    auto of = [&](const Parameter& parameter) {
        return std::span(params).subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.numel));
    };
    // The file has a kind of matrix of all layers, then the next kind.
    auto take_layers = [&](std::string_view kind) {
        for (const Parameter& parameter : parameters)
            if (parameter.name.ends_with(kind)) file.take(of(parameter));
    };
    file.take(of(parameters.front()));
    for (const char* kind : {"input_layernorm.weight", "q_proj.weight", "k_proj.weight", "v_proj.weight",
                             "o_proj.weight", "post_attention_layernorm.weight", "gate_proj.weight", "down_proj.weight",
                             "up_proj.weight", "model.norm.weight"})
        take_layers(kind);
    const Parameter& head = parameters.back();
    if (!config.tie_word_embeddings) Values(bytes.last(static_cast<size_t>(head.numel) * sizeof(float))).take(of(head));
    for (const Parameter& parameter : parameters)
        if (parameter.name.ends_with("q_proj.weight") || parameter.name.ends_with("k_proj.weight"))
            interleaved_to_halves(of(parameter), config.head_dim, config.hidden_size);
    return params;
}

}  // namespace templar
