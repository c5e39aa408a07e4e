// Embedding, RMSNorm, RoPE, SwiGLU and the optimiser: everything that is bound by memory.
#include "kernels/cases/op_case.h"
#include "kernels/bf16.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace templar {

namespace {

constexpr float eps = 1e-5f;

double count(int64_t a, int64_t b = 1, int64_t c = 1) {
    return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

CaseTensor output(const char* name, DType type, std::vector<int64_t> shape, double limit = -1) {
    return {.name = name, .dtype = type, .role = Role::output, .shape = std::move(shape), .limit = limit};
}

CaseTensor normal(const char* name, DType type, std::vector<int64_t> shape, uint64_t seed, Role role = Role::input) {
    int64_t size = 1;
    for (int64_t extent : shape) size *= extent;
    return {.name = name, .dtype = type, .role = role, .shape = std::move(shape), .floats = [=] {
                return normal_values(size, seed);
            }};
}

// Ids below `kinds`, small ones more often, as in a text.
CaseTensor ids(const char* name, int64_t size, int64_t kinds) {
    return {.name = name, .dtype = DType::i32, .shape = {size}, .ints = [=] {
                std::vector<int32_t> result;
                for (float x : normal_values(size, 17))
                    result.push_back(static_cast<int32_t>(std::abs(x) * static_cast<float>(kinds) / 3) %
                                     static_cast<int32_t>(kinds));
                return result;
            }};
}

// ---- embedding ----------------------------------------------------------------------------------------------------

struct Embedding {
    int64_t tokens, vocab, channels;
    std::string shape() const { return fmt::format("{}x{}-of-{}", tokens, channels, vocab); }
};

OpCase embedding_forward(DType compute, const Embedding& e) {
    return {.op = "embedding_forward",
            .shape = e.shape(),
            .tensors = {output("out", compute, {e.tokens, e.channels}, 1e-30),  // a copy
                        normal("table", compute, {e.vocab, e.channels}, 1), ids("ids", e.tokens, e.vocab)},
            .run = [](const Ops& ops, Stream& stream,
                      const CaseTensors& t) { ops.embedding_forward(stream, t["out"], t["table"], t["ids"]); },
            .bytes = count(2 * bytes_of(compute), e.tokens, e.channels),
            .items = count(e.tokens),
            .item = "tokens"};
}

OpCase embedding_backward(DType compute, const Embedding& e) {
    CaseTensor dtable = normal("dtable", DType::f32, {e.vocab, e.channels}, 1, Role::in_out);
    dtable.limit = 0;  // rows are added in ascending order, from what was there on
    const int64_t most_kinds = std::min(e.tokens, e.vocab);
    return {
        .op = "embedding_backward",
        .shape = e.shape(),
        .tensors = {dtable, normal("dout", compute, {e.tokens, e.channels}, 2), ids("ids", e.tokens, e.vocab),
                    normal("table", compute, {e.vocab, e.channels}, 3), output("out", compute, {e.tokens, e.channels})},
        .run = [](const Ops& ops, Stream& stream,
                  const CaseTensors& t) { ops.embedding_backward(stream, t["dtable"], t["dout"], t["ids"]); },
        .bytes = count(bytes_of(compute), e.tokens, e.channels) + count(8, most_kinds, e.channels),
        .items = count(e.tokens),
        .item = "tokens",
        .gradient = {
            {.forward = [](const Ops& ops, Stream& stream,
                           const CaseTensors& t) { ops.embedding_forward(stream, t["out"], t["table"], t["ids"]); },
             .output = "out",
             .output_gradient = "dout",
             .inputs = {{"table", "dtable"}}}}};
}

// ---- RMSNorm ------------------------------------------------------------------------------------------------------

struct Rows {
    int64_t rows, channels;
    std::string shape() const { return fmt::format("{}x{}", rows, channels); }
};

OpCase rmsnorm_forward(DType compute, const Rows& r) {
    return {
        .op = "rmsnorm_forward",
        .shape = r.shape(),
        .tensors = {output("y", compute, {r.rows, r.channels}), output("rstd", DType::f32, {r.rows}),
                    normal("x", compute, {r.rows, r.channels}, 1), normal("weight", compute, {r.channels}, 2)},
        .run = [](const Ops& ops, Stream& stream,
                  const CaseTensors& t) { ops.rmsnorm_forward(stream, t["y"], t["rstd"], t["x"], t["weight"], eps); },
        .bytes = count(2 * bytes_of(compute), r.rows, r.channels),
        .items = count(r.rows),
        .item = "tokens"};
}

OpCase add_rmsnorm_forward(DType compute, const Rows& r) {
    // rstd is that of the rounded sum: with few channels it moves by up to a rounding of bf16.
    const double rstd_limit = compute == DType::bf16 ? 2e-5 : -1;
    return {.op = "add_rmsnorm_forward",
            .shape = r.shape(),
            .tensors = {output("sum", compute, {r.rows, r.channels}), output("y", compute, {r.rows, r.channels}),
                        output("rstd", DType::f32, {r.rows}, rstd_limit), normal("a", compute, {r.rows, r.channels}, 1),
                        normal("b", compute, {r.rows, r.channels}, 2), normal("weight", compute, {r.channels}, 3)},
            .run =
                [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                    ops.add_rmsnorm_forward(stream, t["sum"], t["y"], t["rstd"], t["a"], t["b"], t["weight"], eps);
                },
            .bytes = count(4 * bytes_of(compute), r.rows, r.channels),
            .items = count(r.rows),
            .item = "tokens"};
}

// The gradient that arrives past the norm: none, a tensor of its own, or in dx, which the result replaces.
enum class Residual { absent, apart, in_place };

OpCase rmsnorm_backward(DType compute, const Rows& r, Residual residual) {
    const int64_t size = r.rows * r.channels;
    const CaseTensor x = normal("x", compute, {r.rows, r.channels}, 1);
    CaseTensor rstd{"rstd", DType::f32, Role::input, {r.rows}};
    rstd.floats = [=, values = x.floats] {
        std::vector<float> squares(static_cast<size_t>(r.rows));
        const std::vector<float> v = values();
        for (int64_t i = 0; i < size; ++i) {
            const float value =
                compute == DType::bf16 ? to_float(to_bf16(v[static_cast<size_t>(i)])) : v[static_cast<size_t>(i)];
            squares[static_cast<size_t>(i / r.channels)] += value * value;
        }
        for (float& value : squares) value = 1 / std::sqrt(value / static_cast<float>(r.channels) + eps);
        return squares;
    };
    OpCase result{.op = "rmsnorm_backward",
                  .shape = r.shape(),
                  .tensors = {output("dx", compute, {r.rows, r.channels}),
                              normal("dweight", DType::f32, {r.channels}, 4, Role::in_out),
                              normal("dy", compute, {r.rows, r.channels}, 2), x,
                              normal("weight", compute, {r.channels}, 3), rstd},
                  .run = {},
                  .bytes = count((residual == Residual::absent ? 3 : 4) * bytes_of(compute), r.rows, r.channels),
                  .items = count(r.rows),
                  .item = "tokens"};
    switch (residual) {
        case Residual::absent:
            result.tensors.push_back(output("y", compute, {r.rows, r.channels}));
            result.tensors.push_back(output("rstd_again", DType::f32, {r.rows}));
            result.run = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.rmsnorm_backward(stream, t["dx"], t["dweight"], t["dy"], {}, t["x"], t["weight"], t["rstd"]);
            };
            result.gradient = {{.forward =
                                    [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                                        ops.rmsnorm_forward(stream, t["y"], t["rstd_again"], t["x"], t["weight"], eps);
                                    },
                                .output = "y",
                                .output_gradient = "dy",
                                .inputs = {{"x", "dx"}, {"weight", "dweight"}}}};
            break;
        case Residual::apart:
            result.shape += "-residual";
            result.tensors.push_back(normal("dresidual", compute, {r.rows, r.channels}, 5));
            result.run = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.rmsnorm_backward(stream, t["dx"], t["dweight"], t["dy"], t["dresidual"], t["x"], t["weight"],
                                     t["rstd"]);
            };
            break;
        case Residual::in_place:
            result.shape += "-in-place";
            result.tensors[0] = normal("dx", compute, {r.rows, r.channels}, 5, Role::in_out);
            result.run = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.rmsnorm_backward(stream, t["dx"], t["dweight"], t["dy"], t["dx"], t["x"], t["weight"], t["rstd"]);
            };
            break;
    }
    return result;
}

// ---- RoPE ---------------------------------------------------------------------------------------------------------

struct Heads {
    int64_t batch, sequence, heads, size, rotated;
    bool positions = false;  // given, and not 0..T-1
    std::string shape() const {
        return fmt::format("{}x{}x{}-of-{}x{}{}", batch, sequence, rotated, heads, size, positions ? "-positions" : "");
    }
};

OpCase rope_table(int64_t positions, int64_t size) {
    return {.op = "rope_table",
            .shape = fmt::format("{}x{}", positions, size),
            .tensors = {output("table", DType::f32, {positions, size / 2, 2})},
            .run = [](const Ops& ops, Stream& stream,
                      const CaseTensors& t) { ops.rope_table(stream, t["table"], 500000.0f); },
            .bytes = count(4, positions, size)};
}

OpCase rope(DType compute, const Heads& h, bool backward) {
    const int64_t table_positions = h.positions ? 3 * h.sequence : h.sequence, half = h.size / 2;
    CaseTensor table{"table", DType::f32, Role::input, {table_positions, half, 2}};
    table.floats = [=] {
        std::vector<float> values;
        for (int64_t p = 0; p < table_positions; ++p)
            for (int64_t j = 0; j < half; ++j) {
                const double angle = count(p) * std::pow(10000.0, -count(j) / count(half));
                values.push_back(static_cast<float>(std::cos(angle)));
                values.push_back(static_cast<float>(std::sin(angle)));
            }
        return values;
    };
    OpCase result{.op = backward ? "rope_backward" : "rope_forward",
                  .shape = h.shape(),
                  .tensors = {normal("x", compute, {h.batch, h.sequence, h.heads, h.size}, 1, Role::in_out), table},
                  .run = {},
                  .bytes = count(2 * bytes_of(compute), h.batch * h.sequence, h.rotated * h.size),
                  .items = count(h.batch, h.sequence),
                  .item = "tokens"};
    if (h.positions) result.tensors.push_back(ids("positions", h.batch * h.sequence, table_positions));
    const auto positions = [given = h.positions](const CaseTensors& t) { return given ? t["positions"] : Tensor(); };
    const RunCase forward = [=, rotated = h.rotated](const Ops& ops, Stream& stream, const CaseTensors& t) {
        ops.rope_forward(stream, t["x"], t["table"], positions(t), rotated);
    };
    result.run = forward;
    if (!backward) return result;
    result.run = [=, rotated = h.rotated](const Ops& ops, Stream& stream, const CaseTensors& t) {
        ops.rope_backward(stream, t["x"], t["table"], positions(t), rotated);
    };
    // A linear map: its gradient does not depend on the input, so one tensor can be the input and the gradient.
    result.gradient = {{.forward = forward, .output = "x", .output_gradient = "x", .inputs = {{"x", "x"}}}};
    return result;
}

// ---- SwiGLU -------------------------------------------------------------------------------------------------------

void swiglu_forward_run(const Ops& ops, Stream& stream, const CaseTensors& t) {
    ops.swiglu_forward(stream, t["act"], t["gate_up"]);
}

OpCase swiglu_forward(DType compute, const Rows& r) {
    return {.op = "swiglu_forward",
            .shape = r.shape(),
            .tensors = {output("act", compute, {r.rows, r.channels}),
                        normal("gate_up", compute, {r.rows, 2 * r.channels}, 1)},
            .run = swiglu_forward_run,
            .bytes = count(3 * bytes_of(compute), r.rows, r.channels),
            .items = count(r.rows),
            .item = "tokens"};
}

OpCase swiglu_backward(DType compute, const Rows& r, bool in_place) {
    const std::string gradient = in_place ? "gate_up" : "dgate_up";
    OpCase result{
        .op = "swiglu_backward",
        .shape = r.shape() + (in_place ? "-in-place" : ""),
        .tensors = {normal("gate_up", compute, {r.rows, 2 * r.channels}, 1, in_place ? Role::in_out : Role::input),
                    normal("dact", compute, {r.rows, r.channels}, 2), output("act", compute, {r.rows, r.channels})},
        .run = [=](const Ops& ops, Stream& stream,
                   const CaseTensors& t) { ops.swiglu_backward(stream, t[gradient], t["dact"], t["gate_up"]); },
        .bytes = count(5 * bytes_of(compute), r.rows, r.channels),
        .items = count(r.rows),
        .item = "tokens",
        .gradient = {{.forward = swiglu_forward_run,
                      .output = "act",
                      .output_gradient = "dact",
                      .inputs = {{"gate_up", gradient}}}}};
    if (!in_place) result.tensors.push_back(output("dgate_up", compute, {r.rows, 2 * r.channels}));
    return result;
}

// ---- optimiser ----------------------------------------------------------------------------------------------------

OpCase adamw(DType compute, int64_t size) {
    const bool rounded = compute == DType::bf16;
    CaseTensor v = normal("v", DType::f32, {size}, 3, Role::in_out);
    v.floats = [values = v.floats] {
        std::vector<float> squares = values();
        for (float& value : squares) value *= value;
        return squares;
    };
    OpCase result{
        .op = "adamw",
        .shape = fmt::format("{}", size),
        .tensors = {normal("params", DType::f32, {size}, 1, Role::in_out),
                    normal("m", DType::f32, {size}, 2, Role::in_out), v, normal("grads", DType::f32, {size}, 4)},
        .run =
            [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.adamw(stream, t["params"], rounded ? t["weights"] : Tensor(), t["m"], t["v"], t["grads"],
                          {.lr = 1e-2f,
                           .beta1 = 0.9f,
                           .beta2 = 0.95f,
                           .eps = 1e-8f,
                           .weight_decay = 0.1f,
                           .bias1 = 0.271f,
                           .bias2 = 0.142625f,
                           .grad_scale = 0.37f});
            },
        .bytes = count(28 + (rounded ? 2 : 0), size),
        .items = count(size),
        .item = "parameters"};
    if (rounded) result.tensors.push_back(output("weights", DType::bf16, {size}));
    return result;
}

OpCase sgd(DType compute, int64_t size, bool with_momentum) {
    const bool rounded = compute == DType::bf16;
    OpCase result{
        .op = "sgd",
        .shape = fmt::format("{}{}", size, with_momentum ? "" : "-plain"),
        .tensors = {normal("params", DType::f32, {size}, 1, Role::in_out), normal("grads", DType::f32, {size}, 3)},
        .run =
            [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.sgd(stream, t["params"], rounded ? t["weights"] : Tensor(), with_momentum ? t["momentum"] : Tensor(),
                        t["grads"], {.lr = 1e-2f, .momentum = 0.9f, .weight_decay = 0.1f, .grad_scale = 0.37f});
            },
        .bytes = count((with_momentum ? 20 : 12) + (rounded ? 2 : 0), size),
        .items = count(size),
        .item = "parameters"};
    if (with_momentum) result.tensors.push_back(normal("momentum", DType::f32, {size}, 2, Role::in_out));
    if (rounded) result.tensors.push_back(output("weights", DType::bf16, {size}));
    return result;
}

OpCase round_weights(int64_t size) {
    return {.op = "round_weights",
            .shape = fmt::format("{}", size),
            .tensors = {output("weights", DType::bf16, {size}, 0), normal("params", DType::f32, {size}, 1)},
            .run = [](const Ops& ops, Stream& stream,
                      const CaseTensors& t) { ops.round_weights(stream, t["weights"], t["params"]); },
            .bytes = count(6, size),
            .items = count(size),
            .item = "parameters"};
}

OpCase sum_of_squares(int64_t size) {
    return {.op = "sum_of_squares",
            .shape = fmt::format("{}", size),
            .tensors = {normal("x", DType::f32, {size}, 1)},
            .run = [](const Ops& ops, Stream& stream,
                      const CaseTensors& t) { t.returned({ops.sum_of_squares(stream, t["x"])}); },
            .bytes = count(4, size),
            .items = count(size),
            .item = "parameters"};
}

// ---- sizes --------------------------------------------------------------------------------------------------------

struct Sizes {
    std::vector<Embedding> embeddings;
    std::vector<Rows> norms, activations;
    std::vector<Heads> heads;
    std::vector<std::pair<int64_t, int64_t>> tables;  // positions, head size
    std::vector<int64_t> lengths;                     // of flat arrays
};

Sizes sizes_of(CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small:
            // Around the numbers that kernels care about: packs of 4 and 8, warps, rows in registers or not, more rows
            // than blocks, ids that come back after more than a thousand others.
            return {.embeddings = {{1, 1, 1}, {5, 3, 80}, {41, 50, 33}, {1200, 700, 8}},
                    .norms = {{1, 3}, {7, 80}, {5, 33}, {301, 64}, {3, 1028}, {2, 2048}, {3, 4096}, {2, 8200}},
                    .activations = {{1, 1}, {7, 80}, {5, 33}, {3, 2504}},
                    .heads = {{1, 1, 1, 2, 1}, {2, 5, 6, 64, 4}, {1, 9, 3, 34, 2, true}, {2, 3, 4, 256, 3, true}},
                    .tables = {{1, 2}, {77, 34}, {300, 64}},
                    .lengths = {1, 3, 4, 37, 4096, 20003}};
        case CaseSizes::model:
            return {.embeddings = {{16 * 2048, 32000, 2048}},
                    .norms = {{16 * 2048, 2048}},
                    .activations = {{16 * 2048, 8192}},
                    .heads = {{16, 2048, 24, 256, 16}},
                    .tables = {{2048, 256}},
                    .lengths = {4 * 2048 * 2048 + 3 * 2048 * 8192}};  // one layer's parameters
        case CaseSizes::laptop:
            return {.embeddings = {{8 * 256, 4096, 384}},
                    .norms = {{8 * 256, 384}},
                    .activations = {{8 * 256, 1024}},
                    .heads = {{8, 256, 18, 64, 12}},
                    .tables = {{256, 64}},
                    .lengths = {4 * 384 * 384 + 3 * 384 * 1024}};
    }
    return {};
}

}  // namespace

std::vector<OpCase> elementwise_cases(DType compute, CaseSizes sizes) {
    const Sizes s = sizes_of(sizes);
    std::vector<OpCase> cases;
    for (const Embedding& e : s.embeddings) {
        cases.push_back(embedding_forward(compute, e));
        cases.push_back(embedding_backward(compute, e));
    }
    for (const Rows& r : s.norms) {
        cases.push_back(rmsnorm_forward(compute, r));
        cases.push_back(add_rmsnorm_forward(compute, r));
        for (Residual residual : {Residual::absent, Residual::apart, Residual::in_place})
            cases.push_back(rmsnorm_backward(compute, r, residual));
    }
    for (const auto& [positions, size] : s.tables) cases.push_back(rope_table(positions, size));
    for (const Heads& h : s.heads) {
        cases.push_back(rope(compute, h, false));
        cases.push_back(rope(compute, h, true));
    }
    for (const Rows& r : s.activations) {
        cases.push_back(swiglu_forward(compute, r));
        cases.push_back(swiglu_backward(compute, r, false));
        cases.push_back(swiglu_backward(compute, r, true));
    }
    for (int64_t size : s.lengths) {
        cases.push_back(adamw(compute, size));
        cases.push_back(sgd(compute, size, true));
        cases.push_back(sgd(compute, size, false));
        cases.push_back(round_weights(size));
        cases.push_back(sum_of_squares(size));
    }
    return cases;
}

}  // namespace templar
