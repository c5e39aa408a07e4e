#include "base/random.h"
#include "engine/model/llama.h"

#include <algorithm>

namespace templar {

std::vector<float> genesis_weights(const LlamaConfig& config, uint64_t seed) {
    constexpr double deviation = 0.02;
    constexpr uint64_t words_per_draw = 4;  // CounterRng::normal takes two uniforms of two words
    const Digest key = Sha256().update("genesis").update_le(seed).finish();
    const std::vector<Parameter> parameters = llama_parameters(config);
    std::vector<float> weights(static_cast<size_t>(parameters.back().offset + parameters.back().numel));
    // Element i of the arena is drawn at position i of the key stream, so the threads need not agree on
    // anything. The norms' share of the stream is skipped.
    for (const Parameter& parameter : parameters) {
        float* out = weights.data() + parameter.offset;
        if (parameter.shape.size() == 1) {
            std::fill_n(out, parameter.numel, 1.0f);
            continue;
        }
        const int64_t rows = parameter.shape[0], cols = parameter.shape[1];
#pragma omp parallel for
        for (int64_t row = 0; row < rows; ++row) {
            CounterRng rng(key, words_per_draw * static_cast<uint64_t>(parameter.offset + row * cols));
            for (int64_t col = 0; col < cols; ++col)
                out[row * cols + col] = static_cast<float>(deviation * rng.normal());
        }
    }
    return weights;
}

}  // namespace templar
