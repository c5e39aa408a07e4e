#include "engine/gauntlet/stage2.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

Evaluation Stage2::evaluate(Replica& replica, std::span<const uint8_t> payload, float step,
                            std::span<const SequenceId> own, std::span<const SequenceId> random,
                            double random_before) {
    Evaluation evaluation;
    evaluation.own_before = losses_(replica.weights(), own);
    evaluation.random_before = random_before;
    replica.candidate(candidate_, payload, step);
    evaluation.own_after = losses_(candidate_, own);
    evaluation.random_after = losses_(candidate_, random);
    return evaluation;
}

std::vector<double> first_order_screen(Device& device, const Layout& layout, Tensor grads,
                                       std::span<const std::span<const uint8_t>> payloads, float step) {
    if (grads.numel() != layout.parameters)
        fail(ExitCode::internal, "screen: {} gradients, expected {}", grads.numel(), layout.parameters);
    // So many at a time that a GPU has room for them.
    constexpr size_t at_a_time = 32;
    std::vector<double> sums(payloads.size());
    PayloadStage stage(device, layout.payload_bytes);
    for (size_t begin = 0; begin < payloads.size(); begin += at_a_time) {
        const size_t count = std::min(at_a_time, payloads.size() - begin);
        const auto staged = stage(payloads.subspan(begin, count));
        std::vector<SparseIn> peers(count);
        for (const TensorLayout& tensor : layout.tensors) {
            for (size_t p = 0; p < count; ++p) peers[p] = sparse_in(tensor, staged[p]);
            device.ops().screen(device.stream(), std::span(sums).subspan(begin, count),
                                grads.view(tensor.offset, {tensor.grid.rows, tensor.grid.cols}), tensor.grid, peers);
        }
    }
    for (double& sum : sums) sum *= step;
    return sums;
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
