#include "engine/optim/adamw.h"

#include <cmath>

namespace templar {

AdamW::AdamW(Device& device, const std::vector<Parameter>& parameters, AdamWOptions options)
    : Optimizer(device, parameters, options.weight_decay, options.decay_1d, options.clip),
      options_(options),
      m_(device, DType::f32, parameter_count()),
      v_(device, DType::f32, parameter_count()) {}

void AdamW::update(const Range& range, Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale) {
    const auto part = [&](const DeviceArray& all) { return all.tensor().view(range.offset, {range.numel}); };
    const auto t = static_cast<double>(steps());
    device_.ops().adamw(device_.stream(), params, weights, part(m_), part(v_), grads,
                        {.lr = lr,
                         .beta1 = options_.beta1,
                         .beta2 = options_.beta2,
                         .eps = options_.eps,
                         .weight_decay = range.weight_decay,
                         .bias1 = static_cast<float>(1.0 - std::pow(static_cast<double>(options_.beta1), t)),
                         .bias2 = static_cast<float>(1.0 - std::pow(static_cast<double>(options_.beta2), t)),
                         .grad_scale = grad_scale});
}

}  // namespace templar
