// Letters in the shape comments: T new tokens, C hidden size, V vocabulary, F intermediate size, H query heads, G
// key/value heads, D head size, S = H + 2G, L layers, P capacity.
#include "engine/model/decoder.h"

#include "base/error.h"
#include "engine/model/weight_views.h"
#include "kernels/arena.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace templar {

namespace {

struct Norm {
    Tensor x, y;  // (T, C)
    Tensor rstd;  // (T)
};

// Everything on the device, for the largest number of tokens at once.
struct Buffers {
    Tensor tokens, positions;          // (T)
    Tensor rope;                       // (P, D/2, 2)
    Norm in, mid;                      // before attention, before the MLP
    Tensor qkv;                        // (1, T, S, D)
    Tensor attn;                       // (1, T, H, D)
    Tensor branch;                     // (T, C): what is about to be added to the residual stream
    Tensor gate_up;                    // (T, 2F)
    Tensor act;                        // (T, F)
    Tensor logits;                     // (1, V) fp32
    std::vector<Tensor> keys, values;  // of each layer (1, G, P, D)

    Buffers(Arena& arena, const LlamaConfig& config, int64_t T, int64_t P, DType compute) {
        const int64_t C = config.hidden_size, F = config.intermediate_size, D = config.head_dim;
        const int64_t H = config.heads, G = config.kv_heads;
        const auto norm = [&](const char* name) {
            return Norm{arena.take("residual", compute, {T, C}), arena.take(name, compute, {T, C}),
                        arena.take("rstd", DType::f32, {T})};
        };
        tokens = arena.take("tokens", DType::i32, {T});
        positions = arena.take("positions", DType::i32, {T});
        rope = arena.take("rope", DType::f32, {P, D / 2, 2});
        in = norm("input_layernorm");
        mid = norm("post_attention_layernorm");
        qkv = arena.take("qkv", compute, {1, T, H + 2 * G, D});
        attn = arena.take("attn", compute, {1, T, H, D});
        branch = arena.take("branch", compute, {T, C});
        gate_up = arena.take("gate_up", compute, {T, 2 * F});
        act = arena.take("act", compute, {T, F});
        logits = arena.take("logits", DType::f32, {1, config.vocab_size});
        for (int64_t l = 0; l < config.layers; ++l) {
            keys.push_back(arena.take("keys", compute, {1, G, P, D}));
            values.push_back(arena.take("values", compute, {1, G, P, D}));
        }
    }
};

// The first `count` tokens' part of a tensor (T, …) or (1, T, …).
Tensor first(Tensor t, int64_t count) {
    t.shape[t.rank == 4 ? 1 : 0] = count;
    return t;
}
Norm first(const Norm& norm, int64_t count) {
    return {first(norm.x, count), first(norm.y, count), first(norm.rstd, count)};
}

Tensor matrix(const Tensor& t, int64_t cols) {
    return t.view(0, {t.numel() / cols, cols});
}

// Host memory for what goes to and comes from the device.
struct Pinned {
    Pinned(Device& device_used, int64_t bytes) : device(device_used), memory(device.allocate_pinned(bytes)) {}
    ~Pinned() { device.release_pinned(memory); }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;

    Device& device;
    void* memory;
};

void check_memory(Device& device, const LlamaConfig& config, int64_t capacity) {
    constexpr int64_t largest = int64_t{1} << 20;
    check_config(config);
    if (capacity < 1 || capacity > largest)
        fail(ExitCode::input, "a sequence of up to {} tokens: expected 1 to {}", capacity, largest);
    // A bound in floating point before anything is multiplied in integers.
    const double kept =
        8.0 * static_cast<double>(config.layers * config.kv_heads * config.head_dim) * static_cast<double>(capacity);
    if (kept > 1e18)
        fail(ExitCode::storage, "keeping {} tokens needs about {:.0e} bytes: generate fewer", capacity, kept);
    Arena arena;
    const Buffers measured(arena, config, std::min(capacity, Decoder::most_at_once), capacity, device.compute_type());
    if (const int64_t available = device.free_bytes(); arena.bytes() > available)
        fail(device.shares_host_memory() ? ExitCode::storage : ExitCode::device,
             "keeping {} tokens needs {} MiB, {} MiB are free on {}: generate fewer", capacity, arena.bytes() >> 20,
             available >> 20, device.description());
}

}  // namespace

struct Decoder::State {
    State(Device& device_used, const LlamaConfig& shape, int64_t most_tokens)
        : device(device_used),
          ops(device.ops()),
          stream(device.stream()),
          config(shape),
          capacity(most_tokens),
          at_once(std::min(capacity, most_at_once)),
          parameters(parameter_count(config)),
          arena(planned()),
          buffers(arena, config, at_once, capacity, device.compute_type()),
          ids(device, at_once * 4),
          places(device, at_once * 4),
          logits(device, config.vocab_size * 4) {
        ops.rope_table(stream, buffers.rope, config.rope_theta);
    }
    Arena planned() const {
        Arena plan;
        Buffers(plan, config, at_once, capacity, device.compute_type());
        plan.commit(device);
        return plan;
    }

    void check(const Tensor& weights, std::span<const int32_t> tokens) const;
    void send(std::span<const int32_t> tokens);
    void forward(const WeightViews& weights, int64_t count);
    std::span<const float> last_logits(const WeightViews& weights, int64_t count);
    void linear(Tensor y, Tensor x, Tensor weight) { ops.matmul(stream, y, x, false, weight, true, false); }

    Device& device;
    const Ops& ops;
    Stream& stream;
    LlamaConfig config;
    int64_t capacity, at_once, length = 0;
    int64_t parameters;
    Arena arena;
    Buffers buffers;
    Pinned ids, places, logits;
};

void Decoder::State::check(const Tensor& weights, std::span<const int32_t> tokens) const {
    if (weights.numel() != parameters)
        fail(ExitCode::input, "the model has {} parameters, expected {} for its shape", weights.numel(), parameters);
    if (weights.dtype != device.compute_type())
        fail(ExitCode::internal, "weights in {}, expected {}", name_of(weights.dtype), name_of(device.compute_type()));
    const int64_t count = std::ssize(tokens);
    if (count < 1 || length + count > capacity)
        fail(ExitCode::input, "{} tokens after {}: expected 1 to {}, there is room for {}", count, length,
             capacity - length, capacity);
    for (size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || tokens[i] >= config.vocab_size)
            fail(ExitCode::input, "token {} is {}, expected 0 to {}: text and model have different vocabularies", i,
                 tokens[i], config.vocab_size - 1);
}

// Only after the last call's results were waited for: the host memory is the same.
void Decoder::State::send(std::span<const int32_t> tokens) {
    int32_t* const host_ids = static_cast<int32_t*>(ids.memory);
    int32_t* const host_places = static_cast<int32_t*>(places.memory);
    std::ranges::copy(tokens, host_ids);
    for (size_t i = 0; i < tokens.size(); ++i) host_places[i] = static_cast<int32_t>(length + static_cast<int64_t>(i));
    const auto bytes = static_cast<int64_t>(tokens.size_bytes());
    device.upload(stream, buffers.tokens.data, host_ids, bytes);
    device.upload(stream, buffers.positions.data, host_places, bytes);
}

// Llama::forward for `count` tokens that come after `length` kept ones; leaves the last norm's output in buffers.in.y.
void Decoder::State::forward(const WeightViews& weights, int64_t count) {
    const int64_t D = config.head_dim, rotated = config.heads + config.kv_heads, S = rotated + config.kv_heads;
    const float eps = config.rms_norm_eps;
    const Norm in = first(buffers.in, count), mid = first(buffers.mid, count);
    const Tensor qkv = first(buffers.qkv, count), attn = first(buffers.attn, count);
    const Tensor branch = first(buffers.branch, count), act = first(buffers.act, count);
    const Tensor gate_up = first(buffers.gate_up, count), positions = first(buffers.positions, count);

    ops.embedding_forward(stream, in.x, weights.embedding, first(buffers.tokens, count));
    ops.rmsnorm_forward(stream, in.y, in.rstd, in.x, weights.layer(0).input_norm, eps);
    for (int64_t l = 0; l < config.layers; ++l) {
        const LayerViews w = weights.layer(l);
        const auto layer = static_cast<size_t>(l);
        linear(matrix(qkv, S * D), in.y, w.qkv);
        ops.rope_forward(stream, qkv, buffers.rope, positions, rotated);
        ops.attention_decode(stream, attn, buffers.keys[layer], buffers.values[layer], qkv, length);
        linear(branch, matrix(attn, config.heads * D), w.o);
        ops.add_rmsnorm_forward(stream, mid.x, mid.y, mid.rstd, in.x, branch, w.post_norm, eps);
        linear(gate_up, mid.y, w.gate_up);
        ops.swiglu_forward(stream, act, gate_up);
        linear(branch, act, w.down);
        ops.add_rmsnorm_forward(stream, in.x, in.y, in.rstd, mid.x, branch,
                                l + 1 == config.layers ? weights.final_norm : weights.layer(l + 1).input_norm, eps);
    }
}

std::span<const float> Decoder::State::last_logits(const WeightViews& weights, int64_t count) {
    const int64_t C = config.hidden_size;
    linear(buffers.logits, buffers.in.y.view((count - 1) * C, {1, C}), weights.head);
    float* const host = static_cast<float*>(logits.memory);
    device.download(stream, host, buffers.logits.data, buffers.logits.bytes());
    device.wait(stream);
    return {host, static_cast<size_t>(config.vocab_size)};
}

Decoder::Decoder(Device& device, const LlamaConfig& config, int64_t capacity) {
    check_memory(device, config, capacity);
    state_ = std::make_unique<State>(device, config, capacity);
}

Decoder::~Decoder() = default;

std::span<const float> Decoder::feed(Tensor weights, std::span<const int32_t> tokens) {
    State& state = *state_;
    state.check(weights, tokens);
    const WeightViews views(state.config, weights);
    const int64_t before = state.length;
    try {
        for (;;) {
            int64_t count = std::min(std::ssize(tokens), state.at_once);
            // A GPU chooses an algorithm for each size of product, which takes longer than a few more passes.
            if (!state.device.shares_host_memory())
                count = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count)));
            state.send(tokens.first(static_cast<size_t>(count)));
            state.forward(views, count);
            state.length += count;
            tokens = tokens.subspan(static_cast<size_t>(count));
            if (tokens.empty()) return state.last_logits(views, count);
            state.device.wait(state.stream);
        }
    } catch (...) {
        state.length = before;
        throw;
    }
}

int64_t Decoder::length() const {
    return state_->length;
}

int64_t Decoder::capacity() const {
    return state_->capacity;
}

void Decoder::rewind(int64_t length) {
    if (length < 0 || length > state_->length)
        fail(ExitCode::internal, "rewind to {} tokens, expected 0 to {}", length, state_->length);
    state_->length = length;
}

}  // namespace templar
