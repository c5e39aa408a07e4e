#include "engine/optim/adamw.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>

namespace templar {

AdamW::AdamW(const Ops& ops, Stream stream, const std::vector<Parameter>& parameters, AdamWOptions options)
    : ops_(ops), stream_(stream), options_(options) {
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
    m_.resize(static_cast<size_t>(total));
    v_.resize(static_cast<size_t>(total));
}

double AdamW::step(std::span<float> params, std::span<const float> grads, float lr, float grad_scale) {
    if (params.size() != m_.size() || grads.size() != m_.size() || v_.size() != m_.size())
        fail(ExitCode::internal, "AdamW: {} parameters, {} gradients and {} moments, expected equal numbers",
             params.size(), grads.size(), m_.size());
    const double norm =
        std::abs(grad_scale) *
        std::sqrt(ops_.sum_of_squares(stream_, Tensor(grads.data(), {static_cast<int64_t>(grads.size())})));
    if (!std::isfinite(norm))
        fail(ExitCode::input,
             "the gradient's norm is {}, expected a finite number; nothing was changed: lower the learning "
             "rate",
             norm);
    const double clip = options_.clip > 0 ? std::min(1.0, options_.clip / (norm + 1e-6)) : 1.0;

    ++steps_;
    const double t = static_cast<double>(steps_);
    for (const Range& range : ranges_) {
        auto view = [&](auto* data) { return Tensor(data + range.offset, {range.numel}); };
        ops_.adamw(stream_, view(params.data()), view(m_.data()), view(v_.data()), view(grads.data()),
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
