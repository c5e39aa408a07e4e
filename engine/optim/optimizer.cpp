#include "engine/optim/optimizer.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>

namespace templar {

Optimizer::Optimizer(Device& device, const std::vector<Parameter>& parameters, float weight_decay, bool decay_1d,
                     float clip)
    : device_(device), clip_(clip) {
    for (const Parameter& parameter : parameters) {
        if (parameter.offset != count_)
            fail(ExitCode::internal, "optimiser: '{}' starts at {}, expected {}: parameters must be packed in order",
                 parameter.name, parameter.offset, count_);
        const float decay = parameter.shape.size() > 1 || decay_1d ? weight_decay : 0.0f;
        if (ranges_.empty() || ranges_.back().weight_decay != decay) ranges_.push_back({count_, 0, decay});
        ranges_.back().numel += parameter.numel;
        count_ += parameter.numel;
    }
}

double Optimizer::step(Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale) {
    if (params.numel() != count_ || grads.numel() != count_ || (weights && weights.numel() != count_))
        fail(ExitCode::internal, "optimiser: {} parameters and {} gradients, expected {} of each", params.numel(),
             grads.numel(), count_);
    const double norm = std::abs(grad_scale) * std::sqrt(device_.ops().sum_of_squares(device_.stream(), grads));
    if (!std::isfinite(norm))
        fail(ExitCode::input,
             "the gradient's norm is {}, expected a finite number; nothing was changed: lower the learning "
             "rate",
             norm);
    const double clip = clip_ > 0 ? std::min(1.0, clip_ / (norm + 1e-6)) : 1.0;

    ++steps_;
    for (const Range& range : ranges_) {
        const auto part = [&](const Tensor& all) { return all ? all.view(range.offset, {range.numel}) : Tensor(); };
        update(range, part(params), part(weights), part(grads), lr, static_cast<float>(clip * grad_scale));
    }
    return norm;
}

}  // namespace templar
