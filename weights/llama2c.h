// llama2.c's checkpoints (.bin, its first form): seven sizes, then all weights as fp32.
#pragma once

#include "base/bytes.h"
#include "weights/huggingface.h"

namespace templar {

// The sizes in a file of these bytes. Throws Error(input) when they cannot be, or are not those of a file so long.
HuggingFaceConfig llama2c_config(ByteSpan bytes, std::string_view what);

// The weights as the flat arena of llama_parameters(config.model). llama2.c turns neighbouring values of a head (2i, 2i
// + 1) together, this engine the values i and i + head_dim/2: the rows of q_proj and k_proj are put in that order.
std::vector<float> llama2c_weights(ByteSpan bytes, const LlamaConfig& config);

}  // namespace templar
