#include "engine/model/config.h"

#include "base/error.h"

#include <cmath>

namespace templar {

namespace {

// Far above any model, far below what could overflow a product of three sizes.
constexpr int64_t largest_size = int64_t{1} << 20;
constexpr double largest_model = 1e12;  // parameters

double matrix_parameters(const LlamaConfig& c) {
    const double attention = static_cast<double>(c.hidden_size) * c.head_dim * (2 * c.heads + 2 * c.kv_heads);
    const double mlp = 3.0 * static_cast<double>(c.hidden_size) * static_cast<double>(c.intermediate_size);
    const double head = static_cast<double>(c.vocab_size) * static_cast<double>(c.hidden_size);
    return static_cast<double>(c.layers) * (attention + mlp) + head;
}

}  // namespace

void check_config(const LlamaConfig& config) {
    auto check_size = [](const char* field, int64_t value) {
        if (value < 1 || value > largest_size)
            fail(ExitCode::input, "model: {} is {}, expected 1 to {}; correct the model's shape", field,
                 value, largest_size);
    };
    check_size("vocab_size", config.vocab_size);
    check_size("hidden_size", config.hidden_size);
    check_size("intermediate_size", config.intermediate_size);
    check_size("num_hidden_layers", config.layers);
    check_size("num_attention_heads", config.heads);
    check_size("num_key_value_heads", config.kv_heads);
    check_size("head_dim", config.head_dim);
    if (config.heads % config.kv_heads != 0)
        fail(ExitCode::input,
             "model: num_attention_heads is {}, expected a multiple of num_key_value_heads {}", config.heads,
             config.kv_heads);
    if (config.head_dim % 2 != 0)
        fail(ExitCode::input, "model: head_dim is {}, expected an even number (rotary embedding turns pairs)",
             config.head_dim);
    if (!std::isfinite(config.rms_norm_eps) || config.rms_norm_eps < 0)
        fail(ExitCode::input, "model: rms_norm_eps is {}, expected a small positive number",
             config.rms_norm_eps);
    if (!std::isfinite(config.rope_theta) || config.rope_theta <= 0)
        fail(ExitCode::input, "model: rope_theta is {}, expected a positive number", config.rope_theta);
    if (const double parameters = 2 * matrix_parameters(config); parameters > largest_model)
        fail(ExitCode::input,
             "model: about {:.3g} parameters, expected at most {:.3g}; correct the model's shape", parameters,
             largest_model);
}

std::vector<Parameter> llama_parameters(const LlamaConfig& config) {
    check_config(config);
    const int64_t C = config.hidden_size, F = config.intermediate_size;
    const int64_t query = config.heads * config.head_dim, key = config.kv_heads * config.head_dim;
    std::vector<Parameter> parameters;
    int64_t offset = 0;
    auto add = [&](std::string name, std::vector<int64_t> shape) {
        int64_t numel = 1;
        for (int64_t extent : shape) numel *= extent;
        parameters.push_back({std::move(name), std::move(shape), offset, numel});
        offset += numel;
    };
    add("model.embed_tokens.weight", {config.vocab_size, C});
    for (int64_t l = 0; l < config.layers; ++l) {
        const std::string layer = fmt::format("model.layers.{}.", l);
        add(layer + "self_attn.q_proj.weight", {query, C});
        add(layer + "self_attn.k_proj.weight", {key, C});
        add(layer + "self_attn.v_proj.weight", {key, C});
        add(layer + "self_attn.o_proj.weight", {C, query});
        add(layer + "mlp.gate_proj.weight", {F, C});
        add(layer + "mlp.up_proj.weight", {F, C});
        add(layer + "mlp.down_proj.weight", {C, F});
        add(layer + "input_layernorm.weight", {C});
        add(layer + "post_attention_layernorm.weight", {C});
    }
    add("model.norm.weight", {C});
    if (!config.tie_word_embeddings) add("lm_head.weight", {config.vocab_size, C});
    return parameters;
}

int64_t parameter_count(const LlamaConfig& config) {
    const std::vector<Parameter> parameters = llama_parameters(config);
    return parameters.back().offset + parameters.back().numel;
}

std::vector<float> arena_of_floats(int64_t count) {
    constexpr int64_t cache_line = 64 / sizeof(float);
    std::vector<float> values;
    values.reserve(static_cast<size_t>(count + cache_line));
    values.resize(static_cast<size_t>(count));
    return values;
}

double flops_per_token(const LlamaConfig& config, int64_t seq, bool causal_half) {
    const double attention =
        static_cast<double>(config.layers * config.heads * config.head_dim) * static_cast<double>(seq);
    return 6.0 * matrix_parameters(config) + (causal_half ? 6.0 : 12.0) * attention;
}

}  // namespace templar
