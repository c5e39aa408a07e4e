#include "engine/gauntlet/stage2.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

Stage2::Stage2(Llama& model, const Corpus& corpus, PageShape shape, int32_t end_token)
    : model_(model), corpus_(corpus), shape_(shape), end_token_(end_token) {
    if (shape.seq != model.seq())
        fail(ExitCode::input, "stage 2: pages of {} tokens a sequence, expected the model's {}", shape.seq,
             model.seq());
    const auto tokens = static_cast<size_t>(model.batch() * model.seq());
    candidate_.resize(static_cast<size_t>(model.plan().parameter_count));
    tokens_.resize(tokens);
    labels_.resize(tokens);
    losses_.resize(tokens);
}

double Stage2::mean_loss(std::span<const float> params, std::span<const SequenceId> sequences) {
    const auto seq = static_cast<size_t>(shape_.seq), batch = static_cast<size_t>(model_.batch());
    double sum = 0;
    int64_t counted = 0;
    for (size_t begin = 0; begin < sequences.size(); begin += batch) {
        const size_t rows = std::min(batch, sequences.size() - begin), tokens = rows * seq;
        for (size_t row = 0; row < rows; ++row)
            read_sequence(corpus_, shape_, sequences[begin + row].page, sequences[begin + row].sequence,
                          end_token_, std::span(tokens_).subspan(row * seq, seq),
                          std::span(labels_).subspan(row * seq, seq));
        model_.losses(params, std::span(tokens_).first(tokens), std::span(labels_).first(tokens),
                      std::span(losses_).first(tokens));
        for (size_t i = 0; i < tokens; ++i) {
            if (labels_[i] < 0) continue;
            sum += losses_[i];
            ++counted;
        }
    }
    if (counted == 0)
        fail(ExitCode::input, "stage 2: {} sequences without a single target to predict", sequences.size());
    return sum / static_cast<double>(counted);
}

Evaluation Stage2::evaluate(const Replica& replica, std::span<const uint8_t> payload, float step,
                            std::span<const SequenceId> own, std::span<const SequenceId> random,
                            double random_before) {
    Evaluation evaluation;
    evaluation.own_before = mean_loss(replica.theta(), own);
    evaluation.random_before = random_before;
    replica.candidate(candidate_, payload, step);
    evaluation.own_after = mean_loss(candidate_, own);
    evaluation.random_after = mean_loss(candidate_, random);
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
