// Training: the whole step, and its operations at the shapes they have in it.
#include "engine/model/llama.h"
#include "engine/optim/adamw.h"
#include "tools/bench/bench.h"

#include <fmt/core.h>

#include <memory>

namespace templar::bench {

namespace {

// A model that a laptop trains in minutes.
const LlamaConfig laptop{.vocab_size = 4096,
                         .hidden_size = 384,
                         .intermediate_size = 1024,
                         .layers = 6,
                         .heads = 6,
                         .kv_heads = 6,
                         .head_dim = 64};
constexpr int64_t B = 8, T = 256, N = B * T;
constexpr int64_t V = 4096, C = 384, F = 1024, H = 6, D = 64, S = 3 * H;

struct Training {
    Llama model;
    AdamW optimizer;
    std::vector<float> params, grads, losses;
    std::vector<int32_t> tokens, labels;

    explicit Training(const Context& context, Pass pass)
        : model(context.ops, context.stream, laptop, B, T, pass),
          optimizer(context.ops, context.stream, llama_parameters(laptop), {}),
          params(genesis_weights(laptop, 1)),
          grads(params.size()),
          losses(N) {
        for (int64_t i = 0; i < N; ++i) {
            tokens.push_back(static_cast<int32_t>(i * 7919 % V));
            labels.push_back(static_cast<int32_t>((i + 1) * 7919 % V));
        }
    }
};

Prepared model_step(const Context& context) {
    auto training = std::make_shared<Training>(context, Pass::training);
    auto step = [training] {
        Training& t = *training;
        std::fill(t.grads.begin(), t.grads.end(), 0.0f);
        t.model.forward_backward(t.params, t.grads, t.tokens, t.labels, 1.0f / N, t.losses);
        t.optimizer.step(t.params, t.grads, 1e-4f);
    };
    return {step, flops_per_token(laptop, T, true) * N, 0, N, "tokens"};
}

Prepared model_losses(const Context& context) {
    auto training = std::make_shared<Training>(context, Pass::inference);
    auto step = [training] {
        training->model.losses(training->params, training->tokens, training->labels, training->losses);
    };
    return {step, flops_per_token(laptop, T, true) / 3 * N, 0, N, "tokens"};
}

Prepared adamw_step(const Context& context) {
    auto training = std::make_shared<Training>(context, Pass::inference);
    training->grads = random_values(static_cast<int64_t>(training->params.size()), 2);
    auto step = [training] { training->optimizer.step(training->params, training->grads, 1e-4f); };
    // Gradients are read twice (norm, update); parameters and both moments are read and written.
    const double count = static_cast<double>(training->params.size());
    return {step, 0, 8 * 4 * count, count, "params"};
}

// Buffers of one operation, and the stream it needs.
struct Operands {
    const Ops& ops;
    Stream stream;
    std::vector<std::vector<float>> arrays;
    std::vector<int32_t> ids;

    explicit Operands(const Context& context) : ops(context.ops), stream(context.stream) {
        for (int64_t i = 0; i < N; ++i) ids.push_back(static_cast<int32_t>(i * 7919 % V));
    }
    Tensor array(std::initializer_list<int64_t> shape) {
        int64_t n = 1;
        for (int64_t extent : shape) n *= extent;
        arrays.push_back(random_values(n, arrays.size()));
        return Tensor(arrays.back().data(), shape);
    }
};

// A case of one operation: `make` builds its operands and returns the call.
template <class Make>
Case op_case(std::string name, std::string measures, Bound bound, double work, Make make) {
    auto prepare = [=](const Context& context) {
        auto operands = std::make_shared<Operands>(context);
        std::function<void()> call = make(*operands);
        Prepared prepared{[operands, call] { call(); }};
        (bound == Bound::compute ? prepared.flops : prepared.bytes) = work;
        return prepared;
    };
    return {std::move(name), std::move(measures), bound, prepare};
}

Case matmul_case(const char* use, int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b,
                 bool accumulate) {
    const std::string measures = fmt::format("matrix product {} x {} x {}: {}", m, n, k, use);
    return op_case(
        fmt::format("matmul-{}", use), measures, Bound::compute, 2.0 * m * n * k, [=](Operands& o) {
            const Tensor c = o.array({m, n}), a = transpose_a ? o.array({k, m}) : o.array({m, k});
            const Tensor b = transpose_b ? o.array({n, k}) : o.array({k, n});
            return [=, &o] { o.ops.matmul(o.stream, c, a, transpose_a, b, transpose_b, accumulate); };
        });
}

}  // namespace

std::vector<Case> model_cases() {
    const double floats = sizeof(float);
    // Half of the (T, T) scores: two products forward, five backward.
    const double attention_flops = 2.0 * B * H * T * T / 2 * D;
    std::vector<Case> cases = {
        {"model-step", "forward, backward and AdamW: 6 layers of 384, vocabulary 4096, 8 x 256 tokens",
         Bound::compute, model_step},
        {"model-losses", "forward only, same model and batch", Bound::compute, model_losses},
        {"adamw-step", "gradient norm and AdamW over that model's parameters", Bound::memory, adamw_step},
        matmul_case("qkv", N, S * D, C, false, true, false),
        matmul_case("gate-up", N, 2 * F, C, false, true, false),
        matmul_case("down", N, C, F, false, true, false),
        matmul_case("gate-up-dx", N, C, 2 * F, false, false, false),
        matmul_case("gate-up-dw", 2 * F, C, N, true, false, true),
        matmul_case("head", 1024, V, C, false, true, false),
        matmul_case("head-dw", V, C, 1024, true, false, true),
    };
    cases.push_back(op_case(
        "attention-forward", "causal attention, 6 heads of 64", Bound::compute, 2 * attention_flops,
        [](Operands& o) {
            const Tensor out = o.array({B, T, H, D}), lse = o.array({B, H, T}), qkv = o.array({B, T, S, D});
            return [=, &o] { o.ops.attention_forward(o.stream, out, lse, qkv); };
        }));
    cases.push_back(
        op_case("attention-backward", "its gradient", Bound::compute, 5 * attention_flops, [](Operands& o) {
            const Tensor out = o.array({B, T, H, D}), lse = o.array({B, H, T}), qkv = o.array({B, T, S, D});
            const Tensor dout = o.array({B, T, H, D}), dqkv = o.array({B, T, S, D}),
                         delta = o.array({B, H, T});
            o.ops.attention_forward(o.stream, out, lse, qkv);
            return [=, &o] { o.ops.attention_backward(o.stream, dqkv, delta, dout, out, lse, qkv); };
        }));
    cases.push_back(op_case("rope", "rotary embedding of queries and keys", Bound::memory,
                            2 * floats * N * 2 * H * D, [](Operands& o) {
                                const Tensor x = o.array({B, T, S, D}), table = o.array({T, D / 2, 2});
                                o.ops.rope_table(o.stream, table, 10000.0f);
                                return [=, &o] { o.ops.rope_forward(o.stream, x, table, {}, 2 * H); };
                            }));
    cases.push_back(op_case(
        "add-rmsnorm", "residual addition and norm", Bound::memory, 4 * floats * N * C, [](Operands& o) {
            const Tensor sum = o.array({N, C}), y = o.array({N, C}), rstd = o.array({N}), a = o.array({N, C}),
                         b = o.array({N, C}), w = o.array({C});
            return [=, &o] { o.ops.add_rmsnorm_forward(o.stream, sum, y, rstd, a, b, w, 1e-6f); };
        }));
    cases.push_back(op_case("rmsnorm-backward", "its gradient, added to the residual's", Bound::memory,
                            4 * floats * N * C, [](Operands& o) {
                                const Tensor dx = o.array({N, C}), dw = o.array({C}), dy = o.array({N, C}),
                                             x = o.array({N, C}), w = o.array({C}), rstd = o.array({N});
                                return
                                    [=, &o] { o.ops.rmsnorm_backward(o.stream, dx, dw, dy, dx, x, w, rstd); };
                            }));
    cases.push_back(
        op_case("swiglu-forward", "silu(gate)·up", Bound::memory, 3 * floats * N * F, [](Operands& o) {
            const Tensor act = o.array({N, F}), gate_up = o.array({N, 2 * F});
            return [=, &o] { o.ops.swiglu_forward(o.stream, act, gate_up); };
        }));
    cases.push_back(
        op_case("swiglu-backward", "its gradient", Bound::memory, 5 * floats * N * F, [](Operands& o) {
            const Tensor dgate_up = o.array({N, 2 * F}), dact = o.array({N, F}),
                         gate_up = o.array({N, 2 * F});
            return [=, &o] { o.ops.swiglu_backward(o.stream, dgate_up, dact, gate_up); };
        }));
    cases.push_back(op_case(
        "cross-entropy", "losses and their gradient over 1024 rows of logits", Bound::memory,
        2 * floats * 1024 * V, [](Operands& o) {
            const Tensor losses = o.array({1024}), logits = o.array({1024, V}), labels(o.ids.data(), {1024});
            return [=, &o] { o.ops.cross_entropy_fused(o.stream, losses, logits, labels, 1.0f); };
        }));
    cases.push_back(
        op_case("embedding-backward", "rows of the embedding's gradient", Bound::memory, 3 * floats * N * C,
                [](Operands& o) {
                    const Tensor dtable = o.array({V, C}), dout = o.array({N, C}), ids(o.ids.data(), {N});
                    return [=, &o] { o.ops.embedding_backward(o.stream, dtable, dout, ids); };
                }));
    return cases;
}

}  // namespace templar::bench
