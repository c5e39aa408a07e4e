// AdamW over a flat parameter arena: the single-machine baseline.
#pragma once

#include "engine/model/config.h"
#include "kernels/ops.h"

#include <span>
#include <vector>

namespace templar {

struct AdamWOptions {
    float beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;
    float weight_decay = 0.1f;  // on matrices only, never on 1-D tensors
    float clip = 1.0f;          // global norm; 0: no clipping
    bool decay_1d = false;      // decay norms too (some references do)
};

class AdamW {
  public:
    // parameters: packed in order, as llama_parameters gives them.
    AdamW(const Ops& ops, Stream stream, const std::vector<Parameter>& parameters, AdamWOptions options);

    // One update with g = grad_scale·grads. Returns the global norm of g before clipping.
    // g <- g·min(1, clip/(norm + 1e-6)); decoupled weight decay; bias correction with t from 1.
    // A norm that is not finite throws Error(input) and changes nothing.
    double step(std::span<float> params, std::span<const float> grads, float lr, float grad_scale = 1.0f);

    // Moments and step count, for checkpoints.
    std::vector<float>& m() { return m_; }
    std::vector<float>& v() { return v_; }
    int64_t& steps() { return steps_; }

  private:
    // Neighbouring tensors with the same weight decay, updated in one call.
    struct Range {
        int64_t offset;
        int64_t numel;
        float weight_decay;
    };
    const Ops& ops_;
    Stream stream_;
    std::vector<Range> ranges_;
    AdamWOptions options_;
    std::vector<float> m_, v_;
    int64_t steps_ = 0;
};

}  // namespace templar
