#include "engine/gauntlet/stage2.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

Evaluation Stage2::evaluate(const Replica& replica, std::span<const uint8_t> payload, float step,
                            std::span<const SequenceId> own, std::span<const SequenceId> random,
                            double random_before) {
    Evaluation evaluation;
    evaluation.own_before = losses_(replica.theta(), own);
    evaluation.random_before = random_before;
    replica.candidate(candidate_, payload, step);
    evaluation.own_after = losses_(candidate_, own);
    evaluation.random_after = losses_(candidate_, random);
    return evaluation;
}

double first_order_screen(const Ops& ops, Stream stream, const Layout& layout, std::span<const float> grads,
                          std::span<const uint8_t> payload, float step) {
    if (std::ssize(grads) != layout.parameters || std::ssize(payload) != layout.payload_bytes)
        fail(ExitCode::internal, "screen: {} gradients and a payload of {} bytes, expected {} and {}",
             grads.size(), payload.size(), layout.parameters, layout.payload_bytes);
    double sum = 0;
    for (const TensorLayout& tensor : layout.tensors)
        sum += ops.screen(stream, Tensor(grads.data() + tensor.offset, {tensor.grid.rows, tensor.grid.cols}),
                          tensor.grid, sparse_in(tensor, payload));
    return step * sum;
}

std::vector<SequenceId> draw_sequences(CounterRng& rng, std::span<const int64_t> pages,
                                       int64_t page_sequences, int64_t count) {
    std::vector<int64_t> distinct(pages.begin(), pages.end());
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    std::vector<SequenceId> all;
    for (int64_t page : distinct)
        for (int64_t sequence = 0; sequence < page_sequences; ++sequence) all.push_back({page, sequence});
    // The first `count` steps of a Fisher–Yates shuffle.
    const size_t drawn = std::min(all.size(), static_cast<size_t>(std::max<int64_t>(count, 0)));
    for (size_t i = 0; i < drawn; ++i) std::swap(all[i], all[i + rng.below(all.size() - i)]);
    all.resize(drawn);
    return all;
}

}  // namespace templar
