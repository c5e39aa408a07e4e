// AdamW over a flat parameter arena: the single-machine baseline.
#pragma once

#include "engine/model/config.h"
#include "kernels/device.h"

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
    AdamW(Device& device, const std::vector<Parameter>& parameters, AdamWOptions options);

    // One update of the fp32 params with g = grad_scale·grads; `weights` become the params in the device's compute type
    // (absent when that is fp32). Returns the global norm of g before clipping.
    // g <- g·min(1, clip/(norm + 1e-6)); decoupled weight decay; bias correction with t from 1.
    // A norm that is not finite throws Error(input) and changes nothing.
    double step(Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale = 1.0f);

    // Moments and step count, for checkpoints.
    DeviceArray& m() { return m_; }
    DeviceArray& v() { return v_; }
    int64_t& steps() { return steps_; }

  private:
    // Neighbouring tensors with the same weight decay, updated in one call.
    struct Range {
        int64_t offset;
        int64_t numel;
        float weight_decay;
    };
    Device& device_;
    std::vector<Range> ranges_;
    AdamWOptions options_;
    DeviceArray m_, v_;
    int64_t steps_ = 0;
};

}  // namespace templar
