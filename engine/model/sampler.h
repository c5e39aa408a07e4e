// The choice of the next token from logits.
#pragma once

#include "base/random.h"

#include <cstdint>
#include <span>
#include <vector>

namespace templar {

struct SamplerOptions {
    double temperature = 1.0;  // 0: the most likely token, always
    int64_t top_k = 0;         // among the k most likely; 0: all
    double top_p = 1.0;        // among the most likely that together have this probability
    uint64_t seed = 42;
};

class Sampler {
  public:
    explicit Sampler(SamplerOptions options);

    // A token drawn from softmax(logits / temperature) after top-k, then top-p. Equal logits: the lower id first. The same
    // seed and logits give the same tokens. Throws Error(input) when a logit is not a number or +infinity.
    int32_t next(std::span<const float> logits);

  private:
    SamplerOptions options_;
    CounterRng rng_;
    std::vector<int32_t> order_;
    std::vector<double> weights_;
};

}  // namespace templar
