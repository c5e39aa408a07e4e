// AdamW over a flat parameter arena: the single-machine baseline.
#pragma once

#include "engine/optim/optimizer.h"

namespace templar {

struct AdamWOptions {
    float beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;
    float weight_decay = 0.1f;  // decoupled: p <- p·(1 - lr·wd) first
    float clip = 1.0f;          // global norm; 0: no clipping
    bool decay_1d = false;      // decay norms too (some references do), not only matrices
};

// Bias correction with t from 1.
class AdamW final : public Optimizer {
  public:
    AdamW(Device& device, const std::vector<Parameter>& parameters, AdamWOptions options);

    DeviceArray& m() { return m_; }
    DeviceArray& v() { return v_; }
    std::vector<DeviceArray*> state() override { return {&m_, &v_}; }

  private:
    void update(const Range& range, Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale) override;

    AdamWOptions options_;
    DeviceArray m_, v_;
};

}  // namespace templar
