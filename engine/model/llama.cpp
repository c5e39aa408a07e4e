// Letters in the shape comments: B sequences, T tokens each, N = B·T, C hidden size, V vocabulary, F
// intermediate size, H query heads, G key/value heads, D head size, S = H + 2G.
#include "engine/model/llama.h"

#include "base/error.h"
#include "engine/model/memory.h"
#include "engine/model/weight_views.h"
#include "kernels/bf16.h"

#include <algorithm>

namespace templar {

namespace {

// Rows of logits that exist at a time. Each chunk reads the head's weights twice and updates their gradient,
// so fewer rows than about the hidden size would be bound by memory; more only take more of it. A GPU, which
// is what computes in bf16, needs more rows to be filled.
int64_t logits_chunk_rows(DType compute) {
    return compute == DType::bf16 ? 8192 : 1024;
}

// The same values as a matrix with `cols` columns.
Tensor matrix(const Tensor& t, int64_t cols) {
    return t.view(0, {t.numel() / cols, cols});
}

// Rows [first, first + count) of a matrix or vector.
Tensor slice(const Tensor& t, int64_t first, int64_t count) {
    Tensor part = t;
    part.data = t.view(first * (t.numel() / t.shape[0]), {count}).data;
    part.shape[0] = count;
    return part;
}

// A norm's input, which is the residual stream there, and its results.
struct Norm {
    Tensor x;     // (N, C)
    Tensor y;     // (N, C)
    Tensor rstd;  // (N)
};

}  // namespace

// What one layer's forward leaves for its backward.
struct Llama::LayerActivations {
    Norm in;         // before attention
    Tensor qkv;      // (B, T, S, D), queries and keys rotated
    Tensor attn;     // (B, T, H, D)
    Tensor lse;      // (B, H, T)
    Norm mid;        // before the MLP
    Tensor gate_up;  // (N, 2F); the backward turns it into its gradient
    Tensor act;      // (N, F)
};

// One batch as the device sees it, each (N). Where targets are chosen, all but the tokens belong to them.
struct Llama::BatchTensors {
    Tensor tokens, positions, labels, losses, greedy;
};

// All activations, carved from an arena for the largest batch. For inference all layers share one set of
// buffers: each step only reads what the step before it wrote.
struct Llama::Activations {
    std::vector<LayerActivations> layers;
    Norm final;
    Tensor rope;    // (T, D/2, 2)
    Tensor branch;  // (N, C): what is about to be added to the residual stream; then the last norm's output at
                    // the targets, or on the way back the gradient of a norm's output
    Tensor logits;  // (chunk, V)
    std::array<BatchTensors, 2> batches;
    // Gradients that no layer keeps.
    Tensor dresidual;  // (N, C)
    Tensor dact;       // (N, F)
    Tensor dattn;      // (B, T, H, D)
    Tensor dqkv;       // (B, T, S, D)
    Tensor delta;      // (B, H, T)

    Activations(Arena& arena, const LlamaConfig& config, int64_t B, int64_t T, Pass pass, DType compute) {
        const int64_t N = B * T, C = config.hidden_size, F = config.intermediate_size, D = config.head_dim;
        const int64_t H = config.heads, S = H + 2 * config.kv_heads;
        auto values = [&](const std::string& name, std::initializer_list<int64_t> shape) {
            return arena.take(name, compute, shape);
        };
        auto statistics = [&](const std::string& name, std::initializer_list<int64_t> shape) {
            return arena.take(name, DType::f32, shape);
        };
        auto norm = [&](const std::string& name) {
            return Norm{values("residual." + name, {N, C}), values(name, {N, C}), statistics("rstd." + name, {N})};
        };
        auto layer = [&] {
            LayerActivations a;
            a.in = norm("input_layernorm");
            a.qkv = values("qkv", {B, T, S, D});
            a.attn = values("attn", {B, T, H, D});
            a.lse = statistics("lse", {B, H, T});
            a.mid = norm("post_attention_layernorm");
            a.gate_up = values("gate_up", {N, 2 * F});
            a.act = values("act", {N, F});
            return a;
        };
        rope = statistics("rope", {T, D / 2, 2});
        branch = values("branch", {N, C});
        for (BatchTensors& batch : batches)
            batch = {arena.take("tokens", DType::i32, {N}), arena.take("positions", DType::i32, {N}),
                     arena.take("labels", DType::i32, {N}), statistics("losses", {N}),
                     arena.take("greedy", DType::u8, {N})};
        logits = values("logits", {std::min(N, logits_chunk_rows(compute)), config.vocab_size});
        if (pass == Pass::inference) {
            layers.assign(static_cast<size_t>(config.layers), layer());
            final = layers[0].in;
            return;
        }
        for (int64_t l = 0; l < config.layers; ++l) layers.push_back(layer());
        final = norm("final_norm");
        dresidual = values("d.residual", {N, C});
        dact = values("d.act", {N, F});
        dattn = values("d.attn", {B, T, H, D});
        dqkv = values("d.qkv", {B, T, S, D});
        delta = statistics("delta", {B, H, T});
    }

    // The tensor for a batch of this extent, in the same memory: (B, T, heads, D), (B, H, T) or (N, …).
    static Tensor first(Tensor t, Extent extent) {
        if (t.rank > 2) t.shape[0] = extent.rows;
        else t.shape[0] = extent.tokens();
        if (t.rank == 4) t.shape[1] = extent.length;
        if (t.rank == 3) t.shape[2] = extent.length;
        return t;
    }
    static Norm first(const Norm& norm, Extent extent) {
        return {first(norm.x, extent), first(norm.y, extent), first(norm.rstd, extent)};
    }
    LayerActivations layer(int64_t l, Extent extent) const {
        const LayerActivations& a = layers[static_cast<size_t>(l)];
        return {first(a.in, extent),  first(a.qkv, extent),     first(a.attn, extent), first(a.lse, extent),
                first(a.mid, extent), first(a.gate_up, extent), first(a.act, extent)};
    }
};

MemoryPlan Llama::dry_run(const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass, DType compute) {
    constexpr int64_t largest = int64_t{1} << 20;
    MemoryPlan plan;
    plan.parameter_count = templar::parameter_count(config);
    plan.pass = pass;
    plan.compute = compute;
    if (batch < 1 || batch > largest || seq < 1 || seq > largest)
        fail(ExitCode::input, "batch of {} sequences of {} tokens: expected 1 to {} of each", batch, seq,
             largest);
    // A bound in floating point before anything is multiplied in integers.
    const double width = 4.0 * static_cast<double>(config.hidden_size) +
                         3.0 * static_cast<double>(config.intermediate_size) +
                         2.0 * static_cast<double>((config.heads + 2 * config.kv_heads) * config.head_dim);
    const double bytes =
        4.0 * static_cast<double>(config.layers + 1) * width * static_cast<double>(batch * seq);
    if (bytes > 1e18)
        fail(ExitCode::storage,
             "a batch of {} sequences of {} tokens needs about {:.0e} bytes; use a smaller batch or model",
             batch, seq, bytes);
    Arena arena;
    const Activations measured(arena, config, batch, seq, pass, compute);
    plan.activations = arena.entries();
    plan.activation_bytes = arena.bytes();
    return plan;
}

// The host's side of one batch in flight.
struct Llama::Pending::Slot {
    Slot(Device& device_used, int64_t most_tokens, const BatchTensors& on_device)
        : device(device_used),
          tensors(on_device),
          pinned(device.allocate_pinned(most_tokens * (4 * 4 + 1))),
          tokens(static_cast<int32_t*>(pinned)),
          positions(tokens + most_tokens),
          labels(positions + most_tokens),
          losses(reinterpret_cast<float*>(labels + most_tokens)),
          greedy(reinterpret_cast<uint8_t*>(losses + most_tokens)),
          done(device.make_event()) {}
    ~Slot() { device.release_pinned(pinned); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    Device& device;
    BatchTensors tensors;
    void* pinned;
    int32_t *tokens, *positions, *labels;
    float* losses;
    uint8_t* greedy;
    std::unique_ptr<Device::Event> done;  // the losses are here
};

std::span<const float> Llama::Pending::wait() const {
    slot_->done->wait();
    return {slot_->losses, count_};
}

std::span<const uint8_t> Llama::Pending::greedy() const {
    return {slot_->greedy, greedy_count_};
}

Llama::Llama(Device& device, const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass)
    : device_(device),
      ops_(device.ops()),
      stream_(device.stream()),
      config_(config),
      batch_(batch),
      seq_(seq),
      pass_(pass),
      plan_(dry_run(config, batch, seq, pass, device.compute_type())) {
    const DType compute = device.compute_type();
    require_memory(device, plan_.activation_bytes, batch, [&](int64_t smaller) {
        return dry_run(config, smaller, seq, pass, compute).activation_bytes;
    });
    Activations(arena_, config_, batch, seq, pass, compute);
    arena_.commit(device);
    activations_ = std::make_unique<Activations>(arena_, config_, batch, seq, pass, compute);
    for (size_t i = 0; i < slots_.size(); ++i)
        slots_[i] = std::make_unique<Pending::Slot>(device, batch * seq, activations_->batches[i]);
    ops_.rope_table(stream_, activations_->rope, config_.rope_theta);
}

Llama::~Llama() = default;

// The batch, on its way to the device in a slot that nothing uses any more.
Llama::Pending::Slot& Llama::send(std::span<const int32_t> tokens, std::span<const int32_t> labels) {
    Pending::Slot& slot = *slots_[next_slot_];
    next_slot_ = (next_slot_ + 1) % slots_.size();
    slot.done->wait();
    std::ranges::copy(tokens, slot.tokens);
    std::ranges::copy(labels, slot.labels);
    upload(slot.tensors.tokens, {slot.tokens, tokens.size()});
    upload(slot.tensors.labels, {slot.labels, labels.size()});
    return slot;
}

void Llama::send(Pending::Slot& slot, std::span<const Target> targets) {
    std::ranges::transform(targets, slot.positions, &Target::position);
    std::ranges::transform(targets, slot.labels, &Target::label);
    upload(slot.tensors.positions, {slot.positions, targets.size()});
    upload(slot.tensors.labels, {slot.labels, targets.size()});
}

void Llama::upload(Tensor to, std::span<const int32_t> pinned) {
    device_.upload(stream_, to.data, pinned.data(), static_cast<int64_t>(pinned.size_bytes()));
}

Llama::Pending Llama::fetch_losses(Pending::Slot& slot, int64_t count, bool greedy) {
    device_.download(stream_, slot.losses, slot.tensors.losses.data, count * bytes_of(DType::f32));
    if (greedy) device_.download(stream_, slot.greedy, slot.tensors.greedy.data, count);
    slot.done->record(stream_);
    Pending pending;
    pending.slot_ = &slot;
    pending.count_ = static_cast<size_t>(count);
    pending.greedy_count_ = greedy ? pending.count_ : 0;
    return pending;
}

// y (N, out) = x (N, in) · weightᵀ, weight (out, in)
void Llama::linear(Tensor y, Tensor x, Tensor weight) {
    ops_.matmul(stream_, y, x, false, weight, true, false);
}

// dweight += dyᵀ · x; dx = dy · weight
void Llama::linear_backward(Tensor dx, Tensor dweight, Tensor dy, Tensor x, Tensor weight) {
    ops_.matmul(stream_, dweight, dy, true, x, false, true);
    ops_.matmul(stream_, dx, dy, false, weight, false, false);
}

// Everything up to the last norm's output.
void Llama::forward(const WeightViews& weights, Tensor tokens, Extent extent) {
    const Activations& all = *activations_;
    const int64_t heads = config_.heads, rotated = config_.heads + config_.kv_heads;
    const int64_t S = rotated + config_.kv_heads, D = config_.head_dim;
    const float eps = config_.rms_norm_eps;
    const Tensor branch = all.first(all.branch, extent);

    const Norm start = all.first(all.layers[0].in, extent);
    ops_.embedding_forward(stream_, start.x, weights.embedding, tokens);
    show("embed", -1, start.x);
    ops_.rmsnorm_forward(stream_, start.y, start.rstd, start.x, weights.layer(0).input_norm, eps);

    for (int64_t l = 0; l < config_.layers; ++l) {
        const LayerViews w = weights.layer(l);
        const LayerActivations a = all.layer(l, extent);
        const bool last = l + 1 == config_.layers;
        const Norm next = last ? all.first(all.final, extent) : all.layer(l + 1, extent).in;

        show("input_layernorm", l, a.in.y);
        linear(matrix(a.qkv, S * D), a.in.y, w.qkv);
        show("qkv", l, a.qkv);
        ops_.rope_forward(stream_, a.qkv, all.rope, {}, rotated);
        show("qkv_rope", l, a.qkv);
        ops_.attention_forward(stream_, a.attn, a.lse, a.qkv);
        show("attn", l, a.attn);
        linear(branch, matrix(a.attn, heads * D), w.o);
        ops_.add_rmsnorm_forward(stream_, a.mid.x, a.mid.y, a.mid.rstd, a.in.x, branch, w.post_norm, eps);
        show("mid", l, a.mid.x);

        show("post_attention_layernorm", l, a.mid.y);
        linear(a.gate_up, a.mid.y, w.gate_up);
        show("gate_up", l, a.gate_up);
        ops_.swiglu_forward(stream_, a.act, a.gate_up);
        show("act", l, a.act);
        linear(branch, a.act, w.down);
        ops_.add_rmsnorm_forward(stream_, next.x, next.y, next.rstd, a.mid.x, branch,
                                 last ? weights.final_norm : weights.layer(l + 1).input_norm, eps);
        show("out", l, next.x);
    }
    show("final_norm", -1, all.first(all.final, extent).y);
}

// Losses, the head's gradient, and dnormed, the gradient of the last norm's output: a chunk of rows at a
// time, so that (N, V) never exists. The logits turn into their gradient in place.
void Llama::head_forward_backward(const WeightViews& weights, const WeightViews& grads, Tensor labels, float scale,
                                  Tensor token_losses, Tensor dnormed) {
    const int64_t N = labels.numel(), chunk = activations_->logits.shape[0];
    for (int64_t begin = 0; begin < N; begin += chunk) {
        const int64_t count = std::min(chunk, N - begin);
        const Tensor logits = slice(activations_->logits, 0, count);
        const Tensor normed = slice(activations_->final.y, begin, count);
        linear(logits, normed, weights.head);
        ops_.cross_entropy_fused(stream_, slice(token_losses, begin, count), logits,
                                 slice(labels, begin, count), scale);
        show("d.logits", -1, logits);
        linear_backward(slice(dnormed, begin, count), grads.head, logits, normed, weights.head);
    }
}

// From the gradient of the last norm's output (in `branch`) to the embedding: the forward's steps in reverse.
// `dresidual` is the gradient of the residual stream; each branch adds its share through its norm.
void Llama::backward(const WeightViews& weights, const WeightViews& grads, Tensor tokens, Extent extent) {
    const Activations& all = *activations_;
    const int64_t rotated = config_.heads + config_.kv_heads;
    const int64_t HD = config_.heads * config_.head_dim, SD = (rotated + config_.kv_heads) * config_.head_dim;
    const Tensor dnormed = all.first(all.branch, extent), dresidual = all.first(all.dresidual, extent);
    const Tensor dact = all.first(all.dact, extent), dattn = all.first(all.dattn, extent);
    const Tensor dqkv = all.first(all.dqkv, extent), delta = all.first(all.delta, extent);

    const Norm final = all.first(all.final, extent);
    show("d.final_norm", -1, dnormed);
    ops_.rmsnorm_backward(stream_, dresidual, grads.final_norm, dnormed, {}, final.x, weights.final_norm,
                          final.rstd);
    done(config_.layers);

    for (int64_t l = config_.layers - 1; l >= 0; --l) {
        const LayerViews w = weights.layer(l), g = grads.layer(l);
        const LayerActivations a = all.layer(l, extent);

        show("d.out", l, dresidual);
        linear_backward(dact, g.down, dresidual, a.act, w.down);
        show("d.act", l, dact);
        ops_.swiglu_backward(stream_, a.gate_up, dact, a.gate_up);
        linear_backward(dnormed, g.gate_up, a.gate_up, a.mid.y, w.gate_up);
        ops_.rmsnorm_backward(stream_, dresidual, g.post_norm, dnormed, dresidual, a.mid.x, w.post_norm,
                              a.mid.rstd);

        show("d.mid", l, dresidual);
        linear_backward(matrix(dattn, HD), g.o, dresidual, matrix(a.attn, HD), w.o);
        show("d.attn", l, dattn);
        ops_.attention_backward(stream_, dqkv, delta, dattn, a.attn, a.lse, a.qkv);
        show("d.qkv_rope", l, dqkv);
        ops_.rope_backward(stream_, dqkv, all.rope, {}, rotated);
        linear_backward(dnormed, g.qkv, matrix(dqkv, SD), a.in.y, w.qkv);
        ops_.rmsnorm_backward(stream_, dresidual, g.input_norm, dnormed, dresidual, a.in.x, w.input_norm,
                              a.in.rstd);
        done(l);
    }
    show("d.embed", -1, dresidual);
    ops_.embedding_backward(stream_, grads.embedding, dresidual, tokens);
    done(-1);
}

Llama::Pending Llama::forward_backward(Tensor weights, Tensor grads, std::span<const int32_t> tokens,
                                       std::span<const int32_t> labels, float scale) {
    const Extent extent = checked_extent(weights, tokens, seq_);
    const int64_t N = extent.tokens();
    check_labels(labels, tokens);
    if (pass_ != Pass::training)
        fail(ExitCode::internal, "forward_backward: this model was planned for inference only");
    if (grads.numel() != weights.numel() || grads.dtype != DType::f32)
        fail(ExitCode::internal, "forward_backward: {} gradients in {}, expected {} in f32", grads.numel(),
             name_of(grads.dtype), weights.numel());
    const WeightViews parameters(config_, weights), gradients(config_, grads);
    Pending::Slot& slot = send(tokens, labels);
    const Tensor ids = slice(slot.tensors.tokens, 0, N);
    forward(parameters, ids, extent);
    head_forward_backward(parameters, gradients, slice(slot.tensors.labels, 0, N), scale,
                          slice(slot.tensors.losses, 0, N), activations_->branch);
    backward(parameters, gradients, ids, extent);
    return fetch_losses(slot, N, false);
}

Llama::Pending Llama::losses(Tensor weights, std::span<const int32_t> tokens, std::span<const int32_t> labels) {
    const Extent extent = checked_extent(weights, tokens, seq_);
    const int64_t N = extent.tokens();
    check_labels(labels, tokens);
    const WeightViews parameters(config_, weights);
    Pending::Slot& slot = send(tokens, labels);
    forward(parameters, slice(slot.tensors.tokens, 0, N), extent);
    ops_.loss_eval(stream_, slice(slot.tensors.losses, 0, N), {}, slice(activations_->final.y, 0, N), parameters.head,
                   slice(slot.tensors.labels, 0, N), activations_->logits);
    return fetch_losses(slot, N, false);
}

Llama::Pending Llama::target_losses(Tensor weights, std::span<const int32_t> tokens, int64_t length,
                                    std::span<const Target> targets) {
    const Extent extent = checked_extent(weights, tokens, length);
    check_targets(targets, extent);
    const int64_t N = extent.tokens(), count = std::ssize(targets);
    const WeightViews parameters(config_, weights);
    Pending::Slot& slot = send(tokens, {});
    send(slot, targets);
    forward(parameters, slice(slot.tensors.tokens, 0, N), extent);
    // The targets' rows, gathered as an embedding gathers those of its tokens, where the last branch was.
    const Tensor normed = slice(activations_->branch, 0, count);
    ops_.embedding_forward(stream_, normed, slice(activations_->final.y, 0, N),
                           slice(slot.tensors.positions, 0, count));
    ops_.loss_eval(stream_, slice(slot.tensors.losses, 0, count), slice(slot.tensors.greedy, 0, count), normed,
                   parameters.head, slice(slot.tensors.labels, 0, count), activations_->logits);
    return fetch_losses(slot, count, true);
}

void Llama::logits(Tensor weights, std::span<const int32_t> tokens, std::span<float> out) {
    const Extent extent = checked_extent(weights, tokens, seq_);
    const int64_t N = extent.tokens(), V = config_.vocab_size;
    if (static_cast<int64_t>(out.size()) != N * V)
        fail(ExitCode::internal, "logits: room for {} values, expected {}", out.size(), N * V);
    const WeightViews parameters(config_, weights);
    forward(parameters, slice(send(tokens, {}).tensors.tokens, 0, N), extent);
    const int64_t chunk = activations_->logits.shape[0];
    std::vector<bf16> narrow;
    for (int64_t begin = 0; begin < N; begin += chunk) {
        const int64_t count = std::min(chunk, N - begin);
        const Tensor some = slice(activations_->logits, 0, count);
        linear(some, slice(activations_->final.y, begin, count), parameters.head);
        const std::span<float> to = out.subspan(static_cast<size_t>(begin * V), static_cast<size_t>(count * V));
        if (some.dtype == DType::bf16) narrow.resize(to.size());
        void* const host = some.dtype == DType::bf16 ? static_cast<void*>(narrow.data()) : to.data();
        device_.download(stream_, host, some.data, some.bytes());
        device_.wait(stream_);
        if (some.dtype == DType::bf16) std::ranges::transform(narrow, to.begin(), to_float);
    }
}

Llama::Extent Llama::checked_extent(const Tensor& weights, std::span<const int32_t> tokens, int64_t length) const {
    if (weights.numel() != plan_.parameter_count)
        fail(ExitCode::input, "the model has {} parameters, expected {} for its shape", weights.numel(),
             plan_.parameter_count);
    if (weights.dtype != plan_.compute)
        fail(ExitCode::internal, "weights in {}, expected {}", name_of(weights.dtype), name_of(plan_.compute));
    if (length < 1 || length > seq_) fail(ExitCode::input, "sequences of {} tokens: expected 1 to {}", length, seq_);
    const int64_t count = static_cast<int64_t>(tokens.size()), rows = count / length, most = batch_ * seq_ / length;
    if (rows < 1 || rows > most || rows * length != count)
        fail(ExitCode::input, "{} tokens: expected 1 to {} sequences of {}", count, most, length);
    for (size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || tokens[i] >= config_.vocab_size)
            fail(ExitCode::input,
                 "token {} of the batch is {}, expected 0 to {}: data and model have different vocabularies",
                 i, tokens[i], config_.vocab_size - 1);
    return {rows, length};
}

void Llama::check_labels(std::span<const int32_t> labels, std::span<const int32_t> tokens) const {
    if (labels.size() != tokens.size())
        fail(ExitCode::internal, "{} labels, expected {}", labels.size(), tokens.size());
    for (size_t i = 0; i < labels.size(); ++i)
        if (labels[i] >= config_.vocab_size)
            fail(ExitCode::input,
                 "label {} of the batch is {}, expected less than {}: data and model have different "
                 "vocabularies",
                 i, labels[i], config_.vocab_size);
}

void Llama::check_targets(std::span<const Target> targets, Extent extent) const {
    const int64_t count = std::ssize(targets), most = batch_ * seq_;
    if (count < 1 || count > most) fail(ExitCode::input, "{} targets: expected 1 to {}", count, most);
    for (const auto [position, label] : targets) {
        if (position < 0 || position >= extent.tokens())
            fail(ExitCode::input, "a target at position {}, expected 0 to {}", position, extent.tokens() - 1);
        if (label < 0 || label >= config_.vocab_size)
            fail(ExitCode::input,
                 "the target at position {} has the label {}, expected 0 to {}: data and model have different "
                 "vocabularies",
                 position, label, config_.vocab_size - 1);
    }
}

}  // namespace templar
