// The whole model: a training step and a forward pass.
#include "engine/model/llama.h"
#include "engine/model/peak.h"
#include "engine/optim/adamw.h"
#include "tools/bench/bench.h"

#include <fmt/core.h>

#include <algorithm>

namespace templar::bench {

namespace {

// N(0, 0.02) matrices and norms of one, as at the start of a run.
std::vector<float> first_weights(const LlamaConfig& config) {
    std::vector<float> values = normal_values(parameter_count(config), 1, 0.02);
    for (const Parameter& parameter : llama_parameters(config))
        if (parameter.shape.size() == 1) std::fill_n(values.begin() + parameter.offset, parameter.numel, 1.0f);
    return values;
}

// The fp32 parameters and, where the device computes in another type, what it reads.
struct Weights {
    DeviceArray params, rounded;

    Weights(Device& device, const LlamaConfig& config) : params(device, first_weights(config)) {
        if (device.compute_type() == DType::f32) return;
        rounded = DeviceArray(device, device.compute_type(), params.size());
        device.ops().round_weights(device.stream(), rounded.tensor(), params.tensor());
    }
    Tensor read() const { return rounded ? rounded.tensor() : params.tensor(); }
    Tensor copy() const { return rounded ? rounded.tensor() : Tensor{}; }  // what the optimiser writes beside params
};

struct Batch {
    std::vector<int32_t> tokens, labels;

    explicit Batch(const ModelShape& shape) {
        const int64_t V = shape.config.vocab_size;
        for (int64_t i = 0; i < shape.batch * shape.seq; ++i) {
            tokens.push_back(static_cast<int32_t>(i * 7919 % V));
            labels.push_back(static_cast<int32_t>((i + 1) * 7919 % V));
        }
    }
};

Figure train_step(const Context& context) {
    Training training(context.device, context.model);
    Figure figure{.time = context.stopwatch.measure([&] { training.step(); }),
                  .work = training.flops(true),
                  .items = static_cast<double>(training.tokens()),
                  .item = "tokens"};
    add_utilisation(figure, context, training.flops(true), training.flops(false));
    return figure;
}

Figure losses(const Context& context) {
    const ModelShape& shape = context.model;
    Llama model(context.device, shape.config, shape.batch, shape.seq, Pass::inference);
    const Weights weights(context.device, shape.config);
    const Batch batch(shape);
    const double tokens = static_cast<double>(batch.tokens.size());
    // The backward's share is two thirds.
    const double causal = flops_per_token(shape.config, shape.seq, true) / 3 * tokens;
    const double palm = flops_per_token(shape.config, shape.seq, false) / 3 * tokens;
    Figure figure{.time = context.stopwatch.measure([&] { model.losses(weights.read(), batch.tokens, batch.labels); }),
                  .work = causal,
                  .items = tokens,
                  .item = "tokens"};
    add_utilisation(figure, context, causal, palm);
    return figure;
}

}  // namespace

struct Training::Parts {
    Device& device;
    ModelShape shape;
    Llama model;
    Weights weights;
    DeviceArray grads;
    AdamW optimizer;
    Batch batch;

    Parts(Device& device_used, const ModelShape& wanted)
        : device(device_used),
          shape(wanted),
          model(device, shape.config, shape.batch, shape.seq, Pass::training),
          weights(device, shape.config),
          grads(device, DType::f32, weights.params.size()),
          optimizer(device, llama_parameters(shape.config), {}),
          batch(shape) {}
};

Training::Training(Device& device, const ModelShape& shape) : parts_(std::make_unique<Parts>(device, shape)) {}
Training::~Training() = default;

void Training::step() {
    Parts& p = *parts_;
    p.grads.fill_zero();
    p.model.forward_backward(p.weights.read(), p.grads.tensor(), p.batch.tokens, p.batch.labels,
                             1.0f / static_cast<float>(tokens()));
    p.optimizer.step(p.weights.params.tensor(), p.weights.copy(), p.grads.tensor(), 1e-4f);
}

int64_t Training::tokens() const {
    return parts_->shape.batch * parts_->shape.seq;
}

double Training::flops(bool causal_half) const {
    return flops_per_token(parts_->shape.config, parts_->shape.seq, causal_half) * static_cast<double>(tokens());
}

void add_utilisation(Figure& figure, const Context& context, double causal_flops, double palm_flops) {
    const ModelShape& model = context.model;
    figure.details["model"] = model.name;
    figure.details["batch"] = model.batch;
    figure.details["seq"] = model.seq;
    figure.details["parameters"] = parameter_count(model.config);
    figure.details["median_tokens_per_second"] = figure.items / figure.time.median;
    figure.text = fmt::format("    {}, {} sequences of {} tokens", model.name, model.batch, model.seq);
    const auto peak = dense_bf16_peak(context.device.description());
    if (!peak || context.device.compute_type() != DType::bf16) return;
    const double causal = causal_flops / figure.time.median / *peak, palm = palm_flops / figure.time.median / *peak;
    figure.details["mfu_causal"] = causal;
    figure.details["mfu_palm"] = palm;
    figure.details["peak_tflops"] = *peak * 1e-12;
    figure.text += fmt::format("; MFU by the median: {:.1f} % causal, {:.1f} % PaLM, of {:.1f} TFLOP/s dense bf16",
                               causal * 100, palm * 100, *peak * 1e-12);
}

std::vector<Case> model_cases(const ModelShape& model, DType compute) {
    const auto activations = [&](Pass pass) {
        return Llama::dry_run(model.config, model.batch, model.seq, pass, compute).activation_bytes;
    };
    const int64_t count = parameter_count(model.config);
    const int64_t weights = count * (compute == DType::f32 ? 4 : 4 + bytes_of(compute));
    const int64_t training = activations(Pass::training) + weights + 3 * 4 * count;  // and gradients, two moments
    return {{"train_step", "forward, backward, gradient norm and AdamW of a whole model", Bound::compute, training,
             train_step},
            {"waterfall", "that step, operation by operation, beside what each would take at its ceiling",
             Bound::compute, training, waterfall},
            {"losses", "per-token losses of a whole model, forward only", Bound::compute,
             activations(Pass::inference) + weights, losses}};
}

}  // namespace templar::bench
