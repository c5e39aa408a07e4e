// Stochastic gradient descent over a flat parameter arena, as PyTorch's torch.optim.SGD computes it.
#pragma once

#include "engine/optim/optimizer.h"

namespace templar {

struct SgdOptions {
    float momentum = 0;      // 0: none, and no memory for it
    float weight_decay = 0;  // coupled: wd·p is added to the clipped gradient, and so enters the momentum
    float clip = 0;          // global norm; 0: no clipping
    bool decay_1d = false;   // decay norms too, not only matrices
};

class Sgd final : public Optimizer {
  public:
    Sgd(Device& device, const std::vector<Parameter>& parameters, SgdOptions options)
        : Optimizer(device, parameters, options.weight_decay, options.decay_1d, options.clip),
          options_(options),
          momentum_(device, DType::f32, options.momentum == 0 ? 0 : parameter_count()) {}

    std::vector<DeviceArray*> state() override {
        return momentum_ ? std::vector{&momentum_} : std::vector<DeviceArray*>{};
    }

  private:
    void update(const Range& range, Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale) override {
        device_.ops().sgd(
            device_.stream(), params, weights,
            momentum_ ? momentum_.tensor().view(range.offset, {range.numel}) : Tensor(), grads,
            {.lr = lr, .momentum = options_.momentum, .weight_decay = range.weight_decay, .grad_scale = grad_scale});
    }

    SgdOptions options_;
    DeviceArray momentum_;
};

}  // namespace templar
