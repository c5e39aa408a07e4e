// Losses of hidden states, whose logits no table keeps.
#include "kernels/bf16.h"
#include "kernels/cases/op_case.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace templar {

namespace {

struct LossEval {
    int64_t rows, columns, vocab;
    double spread = 2;  // of the logits, which are normal
    std::string shape() const { return fmt::format("{}x{}x{}{}", rows, columns, vocab, spread > 10 ? "-large" : ""); }
};

std::vector<float> hidden(const LossEval& c) {
    return normal_values(c.rows * c.columns, 1);
}
std::vector<float> head(const LossEval& c) {
    return normal_values(c.vocab * c.columns, 2, c.spread / std::sqrt(static_cast<double>(c.columns)));
}

// The ids of a row's largest and second largest logit, or of the largest alone where the second is within the rounding
// of the logits to bf16 (which one version makes).
struct Likely {
    int32_t first, second;
};
Likely most_likely(const LossEval& c, int64_t row, const std::vector<float>& x, const std::vector<float>& w) {
    std::vector<std::pair<double, int32_t>> logits;
    for (int64_t v = 0; v < c.vocab; ++v) {
        double z = 0;
        for (int64_t k = 0; k < c.columns; ++k)
            z += static_cast<double>(x[static_cast<size_t>(row * c.columns + k)]) *
                 static_cast<double>(w[static_cast<size_t>(v * c.columns + k)]);
        logits.emplace_back(z, static_cast<int32_t>(v));
    }
    std::ranges::sort(logits, std::ranges::greater{});
    const auto clear = std::ranges::find_if(
        logits, [&](const auto& z) { return z.first < logits[0].first - 0.02 * std::abs(logits[0].first); });
    return {logits[0].second, clear == logits.end() ? logits[0].second : clear->second};
}

// Every fifth row is ignored; the last logit and, further down, those anywhere are asked for. In small cases half of
// the rest are the most likely or one of the next, which greedy must tell apart.
std::vector<int32_t> labels(const LossEval& c, DType compute) {
    std::vector<float> x, w;
    const bool small = c.rows * c.columns * c.vocab < int64_t{1} << 24;
    if (small) {
        x = hidden(c), w = head(c);
        if (compute == DType::bf16)
            for (auto* values : {&x, &w})
                for (float& value : *values) value = to_float(to_bf16(value));
    }
    std::vector<int32_t> values;
    for (int64_t i = 0; i < c.rows; ++i) {
        const Likely likely = small ? most_likely(c, i, x, w) : Likely{};
        int32_t label = static_cast<int32_t>((c.vocab - 1 + i * 7919) % c.vocab);
        if (small && i % 4 == 1) label = likely.first;
        if (small && i % 4 == 2) label = likely.second;
        values.push_back(i % 5 == 3 ? -100 : label);
    }
    return values;
}

OpCase loss_eval(DType compute, const LossEval& c) {
    const int64_t logits_rows = std::max<int64_t>(2, c.rows / 2);  // what the CPU's table keeps at a time
    const double tokens = static_cast<double>(c.rows);
    return {
        .op = "loss_eval",
        .shape = c.shape(),
        .tensors =
            {{.name = "losses", .role = Role::output, .shape = {c.rows}},
             {.name = "greedy", .dtype = DType::u8, .role = Role::output, .shape = {c.rows}},
             {.name = "hidden", .dtype = compute, .shape = {c.rows, c.columns}, .floats = [=] { return hidden(c); }},
             {.name = "head", .dtype = compute, .shape = {c.vocab, c.columns}, .floats = [=] { return head(c); }},
             {.name = "labels", .dtype = DType::i32, .shape = {c.rows}, .ints = [=] { return labels(c, compute); }},
             {.name = "scratch", .dtype = compute, .role = Role::scratch, .shape = {logits_rows, c.vocab}}},
        .run =
            [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.loss_eval(stream, t["losses"], t["greedy"], t["hidden"], t["head"], t["labels"], t["scratch"]);
            },
        .bound = Bound::compute,
        .flops = 2 * tokens * static_cast<double>(c.columns) * static_cast<double>(c.vocab),
        .bytes = static_cast<double>(bytes_of(compute) * (c.rows + c.vocab) * c.columns + 5 * c.rows),
        .items = tokens,
        .item = "tokens"};
}

std::vector<LossEval> loss_evals(CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small:
            // One logit; two; a row that is no whole pack of 16 bytes; one entry more than a tile of the vocabulary
            // has; two tiles of rows; more tiles of the vocabulary than multiprocessors; logits of some hundreds.
            return {{1, 1, 1},      {1, 8, 2},       {5, 33, 300},      {7, 40, 257},
                    {131, 72, 601}, {20, 160, 1100}, {9, 136, 511, 200}};
        case CaseSizes::model:
            return {{16 * 2048, 2048, 32000}};
        case CaseSizes::laptop:
            return {{8 * 256, 384, 4096}};
    }
    return {};
}

}  // namespace

std::vector<OpCase> loss_eval_cases(DType compute, CaseSizes sizes) {
    std::vector<OpCase> cases;
    for (const LossEval& c : loss_evals(sizes)) cases.push_back(loss_eval(compute, c));
    return cases;
}

}  // namespace templar
