// Cross-entropy of logits in memory.
#include "kernels/cases/op_case.h"

#include <fmt/core.h>

#include <limits>

namespace templar {

namespace {

// How the logits lie: as a trained model's, or so far apart or out that an exponential not taken with care overflows.
enum class Logits { plain, large, masked };

struct CrossEntropy {
    int64_t rows, vocab;
    Logits logits = Logits::plain;
    std::string shape() const {
        constexpr const char* names[] = {"", "-large", "-masked"};
        return fmt::format("{}x{}{}", rows, vocab, names[static_cast<int>(logits)]);
    }
};

CaseTensor logits_of(DType compute, const CrossEntropy& c, Role role) {
    CaseTensor tensor{"logits", compute, role, {c.rows, c.vocab}};
    tensor.floats = [=] {
        std::vector<float> values = normal_values(c.rows * c.vocab, 1, 2.0);
        for (int64_t i = 0; i < c.rows * c.vocab && c.logits != Logits::plain; ++i) {
            float& value = values[static_cast<size_t>(i)];
            const int64_t row = i / c.vocab, v = i % c.vocab;
            if (c.logits == Logits::large) value += row % 2 == 0 ? 1e4f : -1e4f;
            else if (v > c.vocab / 2) value = -std::numeric_limits<float>::infinity();
        }
        return values;
    };
    return tensor;
}

// Every fifth row is ignored. Labels are never masked.
CaseTensor labels_of(const CrossEntropy& c) {
    return {.name = "labels", .dtype = DType::i32, .shape = {c.rows}, .ints = [=] {
                std::vector<int32_t> labels;
                for (int64_t i = 0; i < c.rows; ++i)
                    labels.push_back(i % 5 == 3 ? -100 : static_cast<int32_t>(i * 7919 % (c.vocab / 2 + 1)));
                return labels;
            }};
}

void forward_run(const Ops& ops, Stream& stream, const CaseTensors& t) {
    ops.cross_entropy_forward(stream, t["losses"], t["logits"], t["labels"]);
}

OpCase cross_entropy_forward(DType compute, const CrossEntropy& c) {
    return {.op = "cross_entropy_forward",
            .shape = c.shape(),
            .tensors = {{.name = "losses", .role = Role::output, .shape = {c.rows}},
                        logits_of(compute, c, Role::input),
                        labels_of(c)},
            .run = forward_run,
            .bytes = static_cast<double>(bytes_of(compute) * c.rows * c.vocab),
            .items = static_cast<double>(c.rows),
            .item = "tokens"};
}

OpCase cross_entropy_fused(DType compute, const CrossEntropy& c) {
    constexpr float scale = 0.25f;
    OpCase result{.op = "cross_entropy_fused",
                  .shape = c.shape(),
                  .tensors = {{.name = "losses", .role = Role::output, .shape = {c.rows}},
                              logits_of(compute, c, Role::in_out),
                              labels_of(c),
                              {.name = "scales",
                               .shape = {c.rows},
                               .floats = [=] { return std::vector<float>(static_cast<size_t>(c.rows), scale); }}},
                  .run =
                      [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                          ops.cross_entropy_fused(stream, t["losses"], t["logits"], t["labels"], scale);
                      },
                  .bytes = static_cast<double>(2 * bytes_of(compute) * c.rows * c.vocab),
                  .items = static_cast<double>(c.rows),
                  .item = "tokens"};
    if (c.logits == Logits::plain)  // elsewhere a difference of losses says little
        result.gradient = {{.forward = forward_run,
                            .output = "losses",
                            .output_gradient = "scales",
                            .inputs = {{"logits", "logits"}}}};
    return result;
}

std::vector<CrossEntropy> cross_entropies(CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small:
            // One logit, fewer than a pack, odd rows (which start anywhere), whole packs, more than a block's threads
            // have, and a row too long for shared memory.
            return {{1, 1},
                    {6, 3},
                    {9, 33},
                    {7, 257},
                    {5, 4096},
                    {2, 9001},
                    {6, 515, Logits::large},
                    {6, 515, Logits::masked},
                    {1, 83001},
                    {1, 83001, Logits::masked}};
        case CaseSizes::model: return {{4096, 32000}};  // of 32,768 rows: 262 MB in bf16
        case CaseSizes::laptop: return {{8 * 256, 4096}};
    }
    return {};
}

}  // namespace

std::vector<OpCase> loss_cases(DType compute, CaseSizes sizes) {
    std::vector<OpCase> cases;
    for (const CrossEntropy& c : cross_entropies(sizes)) {
        cases.push_back(cross_entropy_forward(compute, c));
        cases.push_back(cross_entropy_fused(compute, c));
    }
    return cases;
}

}  // namespace templar
