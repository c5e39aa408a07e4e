// The matrices and norms in a flat arena of parameters. Letters: V vocabulary, C hidden size, F intermediate size, H
// query heads, G key/value heads, D head size, S = H + 2G.
#pragma once

#include "engine/model/config.h"
#include "kernels/tensor.h"

namespace templar {

// One layer's parameters, or their gradients.
struct LayerViews {
    Tensor qkv;                    // (S·D, C)
    Tensor o;                      // (C, H·D)
    Tensor gate_up;                // (2F, C)
    Tensor down;                   // (C, F)
    Tensor input_norm, post_norm;  // (C)
};

// Views of a flat arena of parameters, or of gradients, in the order of llama_parameters().
struct WeightViews {
    Tensor embedding;   // (V, C)
    Tensor final_norm;  // (C)
    Tensor head;        // (V, C); the embedding itself when tied

    WeightViews(const LlamaConfig& config, const Tensor& arena) : config_(config), arena_(arena) {
        const int64_t C = config.hidden_size, V = config.vocab_size;
        const int64_t end = V * C + config.layers * layer_size();
        embedding = arena.view(0, {V, C});
        final_norm = arena.view(end, {C});
        head = config.tie_word_embeddings ? embedding : arena.view(end + C, {V, C});
    }

    LayerViews layer(int64_t l) const {
        const int64_t C = config_.hidden_size, F = config_.intermediate_size, D = config_.head_dim;
        const int64_t H = config_.heads, S = H + 2 * config_.kv_heads;
        int64_t position = config_.vocab_size * C + l * layer_size();
        auto take = [&](int64_t rows, int64_t cols) {
            position += rows * cols;
            return arena_.view(position - rows * cols, {rows, cols});
        };
        LayerViews layer;
        layer.qkv = take(S * D, C);
        layer.o = take(C, H * D);
        layer.gate_up = take(2 * F, C);
        layer.down = take(C, F);
        layer.input_norm = arena_.view(position, {C});
        layer.post_norm = arena_.view(position + C, {C});
        return layer;
    }

  private:
    int64_t layer_size() const {
        const int64_t attention = (2 * config_.heads + 2 * config_.kv_heads) * config_.head_dim;
        return config_.hidden_size * (attention + 3 * config_.intermediate_size + 2);
    }

    LlamaConfig config_;
    Tensor arena_;
};

}  // namespace templar
