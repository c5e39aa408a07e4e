// A model of every shape that matters and of little work: grouped queries, odd sizes.
#pragma once

#include "base/random.h"
#include "engine/model/config.h"

#include <vector>

namespace templar::test {

inline LlamaConfig small_config(bool tied = false) {
    return {.vocab_size = 61,
            .hidden_size = 24,
            .intermediate_size = 40,
            .layers = 2,
            .heads = 4,
            .kv_heads = 2,
            .head_dim = 8,
            .tie_word_embeddings = tied};
}

// Larger than the genesis weights, so that every part of the model has a gradient worth measuring.
inline std::vector<float> random_weights(const LlamaConfig& config, const char* key) {
    CounterRng rng(sha256(as_bytes(key)));
    std::vector<float> weights(static_cast<size_t>(parameter_count(config)));
    for (const Parameter& parameter : llama_parameters(config))
        for (int64_t i = 0; i < parameter.numel; ++i)
            weights[static_cast<size_t>(parameter.offset + i)] = static_cast<float>(
                parameter.shape.size() == 1 ? 1 + 0.1 * rng.normal() : 0.25 * rng.normal());
    return weights;
}

}  // namespace templar::test
