// Causal attention with grouped queries, of whole sequences and of their newest tokens.
#include "kernels/bf16.h"
#include "kernels/cases/op_case.h"

#include <fmt/core.h>

#include <cmath>

namespace templar {

namespace {

struct Attention {
    int64_t batch, seq, heads, groups, size;

    std::string name() const { return fmt::format("{}x{}-{}/{}x{}", batch, seq, heads, groups, size); }
    std::vector<int64_t> qkv() const { return {batch, seq, heads + 2 * groups, size}; }
    std::vector<int64_t> out() const { return {batch, seq, heads, size}; }
    std::vector<int64_t> rows() const { return {batch, heads, seq}; }
    int64_t qkv_count() const { return batch * seq * (heads + 2 * groups) * size; }
    int64_t out_count() const { return batch * seq * heads * size; }
    int64_t row_count() const { return batch * heads * seq; }
    // One product of queries with the keys that they see.
    double product_flops() const {
        return static_cast<double>(batch * heads * size) * static_cast<double>(seq * (seq + 1));
    }
};

std::vector<float> qkv_values(const Attention& a) {
    return normal_values(a.qkv_count(), 1);
}

// What forward leaves: the backward pass needs an out and an lse that belong to its qkv.
struct Forward {
    std::vector<float> out, lse;
};
Forward forward(const Attention& a, DType compute) {
    std::vector<float> qkv = qkv_values(a);
    if (compute == DType::bf16)
        for (float& x : qkv) x = to_float(to_bf16(x));
    Forward result{std::vector<float>(a.out_count()), std::vector<float>(a.row_count())};
    Stream stream;
    cpu_ops().attention_forward(stream, Tensor(result.out.data(), {a.batch, a.seq, a.heads, a.size}),
                                Tensor(result.lse.data(), {a.batch, a.heads, a.seq}),
                                Tensor(qkv.data(), {a.batch, a.seq, a.heads + 2 * a.groups, a.size}));
    return result;
}

OpCase forward_case(DType compute, const Attention& a) {
    return {.op = "attention_forward",
            .shape = a.name(),
            // bf16: probabilities and out are rounded once each, which is within the default.
            .tensors = {{"out", compute, Role::output, a.out()},
                        {"lse", DType::f32, Role::output, a.rows()},
                        {"qkv", compute, Role::input, a.qkv(), [=] { return qkv_values(a); }}},
            .run = [](const Ops& ops, Stream& stream,
                      const CaseTensors& t) { ops.attention_forward(stream, t["out"], t["lse"], t["qkv"]); },
            .bound = Bound::compute,
            .flops = 2 * a.product_flops(),
            .bytes = static_cast<double>(bytes_of(compute) * (a.qkv_count() + a.out_count()) + 4 * a.row_count()),
            .items = static_cast<double>(a.batch * a.seq),
            .item = "tokens"};
}

OpCase backward_case(DType compute, const Attention& a) {
    const RunCase run_forward = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
        ops.attention_forward(stream, t["out"], t["lse"], t["qkv"]);
    };
    return {.op = "attention_backward",
            .shape = a.name(),
            // bf16: P and dS are rounded before they are multiplied, and the gradient after: three roundings, of which
            // those of single terms average out. Within the default.
            .tensors = {{"dqkv", compute, Role::output, a.qkv()},
                        {"delta", DType::f32, Role::output, a.rows()},
                        {"dout", compute, Role::input, a.out(), [=] { return normal_values(a.out_count(), 2); }},
                        {"out", compute, Role::input, a.out(), [=] { return forward(a, compute).out; }},
                        {"lse", DType::f32, Role::input, a.rows(), [=] { return forward(a, compute).lse; }},
                        {"qkv", compute, Role::input, a.qkv(), [=] { return qkv_values(a); }}},
            .run =
                [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                    ops.attention_backward(stream, t["dqkv"], t["delta"], t["dout"], t["out"], t["lse"], t["qkv"]);
                },
            .bound = Bound::compute,
            .flops = 5 * a.product_flops(),  // as the field counts: a kernel that recomputes more does not look faster
            .bytes = static_cast<double>(bytes_of(compute) * 2 * (a.qkv_count() + a.out_count()) + 8 * a.row_count()),
            .items = static_cast<double>(a.batch * a.seq),
            .item = "tokens",
            .gradient = {{run_forward, "out", "dout", {{"qkv", "dqkv"}}}}};
}

std::vector<Attention> shapes(CaseSizes sizes) {
    switch (sizes) {
        // Sequences of one tile and of several, whole and not; heads alone, shared by a group, in several groups; head
        // sizes that a kernel has tiles for, that it pads, and whose rows do not begin on 16 bytes.
        case CaseSizes::small:
            return {{1, 1, 1, 1, 64},   {2, 5, 2, 1, 64},   {1, 64, 1, 1, 64},   {1, 100, 4, 2, 64}, {1, 33, 1, 1, 128},
                    {1, 65, 2, 1, 128}, {1, 33, 1, 1, 256}, {1, 70, 2, 1, 256}, {2, 65, 4, 2, 8},   {1, 70, 3, 1, 32},
                    {1, 40, 1, 1, 96},  {2, 34, 2, 2, 6},   {1, 150, 1, 1, 16}};
        case CaseSizes::model:
            return {{16, 2048, 8, 8, 256}, {16, 2048, 16, 4, 128}, {16, 2048, 32, 8, 64}};
        case CaseSizes::laptop:
            return {{8, 256, 6, 6, 64}, {8, 256, 6, 2, 64}};
    }
    return {};
}

struct Decode {
    int64_t batch, tokens, past, capacity, heads, groups, size;

    std::string name() const {
        return fmt::format("{}x{}+{}-{}/{}x{}", batch, past, tokens, heads, groups, size);
    }
    std::vector<int64_t> kept() const { return {batch, groups, capacity, size}; }
};

OpCase decode_case(DType compute, const Decode& a) {
    const int64_t kept = a.batch * a.groups * a.capacity * a.size, row = (a.heads + 2 * a.groups) * a.size;
    const int64_t read = a.batch * a.groups * (a.past + a.tokens) * a.size;
    return {.op = "attention_decode",
            .shape = a.name(),
            // bf16: sums and probabilities stay in fp32, out is rounded once.
            .tensors = {{"out", compute, Role::output, {a.batch, a.tokens, a.heads, a.size}},
                        // What is kept is copied: the same bits.
                        {.name = "keys",
                         .dtype = compute,
                         .role = Role::in_out,
                         .shape = a.kept(),
                         .floats = [=] { return normal_values(kept, 1); }},
                        {.name = "values",
                         .dtype = compute,
                         .role = Role::in_out,
                         .shape = a.kept(),
                         .floats = [=] { return normal_values(kept, 2); }},
                        {"qkv",
                         compute,
                         Role::input,
                         {a.batch, a.tokens, a.heads + 2 * a.groups, a.size},
                         [=] { return normal_values(a.batch * a.tokens * row, 3); }}},
            .run =
                [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
                    ops.attention_decode(stream, t["out"], t["keys"], t["values"], t["qkv"], a.past);
                },
            .bound = Bound::memory,
            .bytes = static_cast<double>(bytes_of(compute) * (2 * read + a.batch * a.tokens * (row + a.heads * a.size))),
            .items = static_cast<double>(a.batch * a.tokens),
            .item = "tokens"};
}

std::vector<Decode> decodes(CaseSizes sizes) {
    switch (sizes) {
        // The first token; one and several after some; a full cache; many queries of a group; more keys than a block
        // of the grid has, and the last of several tokens alone in a block; rows that are no whole packs, and of every
        // padded size.
        case CaseSizes::small:
            return {{1, 1, 0, 1, 1, 1, 64},     {1, 1, 5, 9, 2, 1, 64},     {2, 3, 0, 3, 4, 2, 64},
                    {1, 1, 700, 800, 4, 4, 32}, {2, 1, 63, 70, 6, 2, 128},  {1, 5, 130, 140, 3, 3, 96},
                    {1, 70, 20, 90, 2, 1, 8},   {1, 2, 33, 40, 9, 1, 256},  {1, 3, 65, 68, 5, 1, 6},
                    {1, 1, 300, 301, 1, 1, 13}, {1, 3, 254, 260, 1, 1, 64}, {1, 5, 253, 520, 8, 2, 32}};
        case CaseSizes::model:
            return {{1, 1, 2047, 2048, 8, 8, 256}, {1, 1, 8191, 8192, 32, 8, 128}, {1, 256, 1792, 2048, 8, 8, 256}};
        case CaseSizes::laptop:
            return {{1, 1, 1023, 1024, 12, 12, 64}, {1, 256, 768, 1024, 12, 12, 64}};
    }
    return {};
}

}  // namespace

std::vector<OpCase> attention_cases(DType compute, CaseSizes sizes) {
    std::vector<OpCase> cases;
    for (const Decode& a : decodes(sizes)) cases.push_back(decode_case(compute, a));
    for (const Attention& a : shapes(sizes)) {
        cases.push_back(forward_case(compute, a));
        cases.push_back(backward_case(compute, a));
    }
    return cases;
}

}  // namespace templar
