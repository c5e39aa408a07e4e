// The shape of a Llama decoder and the order of its parameters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace templar {

// Field names are Hugging Face's config.json keys, shortened where Hugging Face says num_….
struct LlamaConfig {
    int64_t vocab_size = 32000;
    int64_t hidden_size = 2048;
    int64_t intermediate_size = 8192;
    int64_t layers = 16;
    int64_t heads = 8;
    int64_t kv_heads = 8;
    int64_t head_dim = 256;
    float rms_norm_eps = 1e-6f;
    float rope_theta = 10000.0f;
    bool tie_word_embeddings = false;
    bool operator==(const LlamaConfig&) const = default;
};

// Throws Error(input) naming the first field that cannot be: sizes below 1 or absurdly large, heads not a
// multiple of kv_heads, odd head_dim.
void check_config(const LlamaConfig& config);

// One tensor of the flat parameter arena. 1-D tensors have rows = 1.
struct Parameter {
    std::string name;            // Hugging Face's name, e.g. model.layers.0.self_attn.q_proj.weight
    std::vector<int64_t> shape;  // [out, in] or [n]
    int64_t offset;              // first element in the arena
    int64_t numel;
};

// All tensors in layout order (embedding; per layer q, k, v, o, gate, up, down, input norm, post-attention
// norm; final norm; head when untied), tightly packed: so q, k, v are one (H + 2G)·D × C matrix and gate, up
// one 2F × C matrix.
std::vector<Parameter> llama_parameters(const LlamaConfig& config);
int64_t parameter_count(const LlamaConfig& config);

// `count` zeros, for an arena that somebody may take over: there is room behind them, so that they can be moved to the
// beginning of a cache line without being held twice.
std::vector<float> arena_of_floats(int64_t count);

// Floating-point operations per trained token: 6·(parameters in matrix products) + attention, 6·L·H·D·T
// causal (half) or 12·L·H·D·T full (PaLM, appendix B).
double flops_per_token(const LlamaConfig& config, int64_t seq, bool causal_half);

}  // namespace templar
