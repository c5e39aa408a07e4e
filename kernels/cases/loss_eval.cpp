// Losses of hidden states, whose logits no table keeps.
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

// Every fifth row is ignored; the last logit and, further down, those anywhere are asked for.
std::vector<int32_t> labels(const LossEval& c) {
    std::vector<int32_t> values;
    for (int64_t i = 0; i < c.rows; ++i)
        values.push_back(i % 5 == 3 ? -100 : static_cast<int32_t>((c.vocab - 1 + i * 7919) % c.vocab));
    return values;
}

OpCase loss_eval(DType compute, const LossEval& c) {
    const double scale = c.spread / std::sqrt(static_cast<double>(c.columns));
    const auto values = [](int64_t count, uint64_t seed, double size) {
        return [=] { return normal_values(count, seed, size); };
    };
    const int64_t logits_rows = std::max<int64_t>(2, c.rows / 2);  // what the CPU's table keeps at a time
    const double tokens = static_cast<double>(c.rows);
    return {.op = "loss_eval",
            .shape = c.shape(),
            .tensors = {{.name = "losses", .role = Role::output, .shape = {c.rows}},
                        {.name = "hidden",
                         .dtype = compute,
                         .shape = {c.rows, c.columns},
                         .floats = values(c.rows * c.columns, 1, 1.0)},
                        {.name = "head",
                         .dtype = compute,
                         .shape = {c.vocab, c.columns},
                         .floats = values(c.vocab * c.columns, 2, scale)},
                        {.name = "labels", .dtype = DType::i32, .shape = {c.rows}, .ints = [=] { return labels(c); }},
                        {.name = "scratch", .dtype = compute, .role = Role::scratch, .shape = {logits_rows, c.vocab}}},
            .run =
                [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                    ops.loss_eval(stream, t["losses"], t["hidden"], t["head"], t["labels"], t["scratch"]);
                },
            .bound = Bound::compute,
            .flops = 2 * tokens * static_cast<double>(c.columns) * static_cast<double>(c.vocab),
            .bytes = static_cast<double>(bytes_of(compute) * (c.rows + c.vocab) * c.columns + 4 * c.rows),
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
        case CaseSizes::model: return {{16 * 2048, 2048, 32000}};
        case CaseSizes::laptop: return {{8 * 256, 384, 4096}};
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
