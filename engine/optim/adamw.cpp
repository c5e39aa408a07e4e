#include "engine/optim/adamw.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>

namespace templar {

AdamW::AdamW(Device& device, const std::vector<Parameter>& parameters, AdamWOptions options)
    : device_(device), options_(options) {
    int64_t total = 0;
    for (const Parameter& parameter : parameters) {
        if (parameter.offset != total)
            fail(ExitCode::internal,
                 "AdamW: '{}' starts at {}, expected {}: parameters must be packed in order", parameter.name,
                 parameter.offset, total);
        const bool decayed = parameter.shape.size() > 1 || options_.decay_1d;
        const float weight_decay = decayed ? options_.weight_decay : 0.0f;
        if (ranges_.empty() || ranges_.back().weight_decay != weight_decay)
            ranges_.push_back({total, 0, weight_decay});
        ranges_.back().numel += parameter.numel;
        total += parameter.numel;
    }
    m_ = DeviceArray(device, DType::f32, total);
    v_ = DeviceArray(device, DType::f32, total);
}

double AdamW::step(Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale) {
    const int64_t count = m_.size();
    if (params.numel() != count || grads.numel() != count || (weights && weights.numel() != count))
        fail(ExitCode::internal, "AdamW: {} parameters and {} gradients, expected {} of each", params.numel(),
             grads.numel(), count);
    const double norm =
        std::abs(grad_scale) * std::sqrt(device_.ops().sum_of_squares(device_.stream(), grads));
    if (!std::isfinite(norm))
        fail(ExitCode::input,
             "the gradient's norm is {}, expected a finite number; nothing was changed: lower the learning "
             "rate",
             norm);
    const double clip = options_.clip > 0 ? std::min(1.0, options_.clip / (norm + 1e-6)) : 1.0;

    ++steps_;
    const double t = static_cast<double>(steps_);
    for (const Range& range : ranges_) {
        const auto part = [&](const Tensor& all) { return all ? all.view(range.offset, {range.numel}) : Tensor(); };
        device_.ops().adamw(device_.stream(), part(params), part(weights), part(m_.tensor()), part(v_.tensor()), part(grads),
                   {.lr = lr,
                    .beta1 = options_.beta1,
                    .beta2 = options_.beta2,
                    .eps = options_.eps,
                    .weight_decay = range.weight_decay,
                    .bias1 = static_cast<float>(1.0 - std::pow(static_cast<double>(options_.beta1), t)),
                    .bias2 = static_cast<float>(1.0 - std::pow(static_cast<double>(options_.beta2), t)),
                    .grad_scale = static_cast<float>(clip * grad_scale)});
    }
    return norm;
}

}  // namespace templar
