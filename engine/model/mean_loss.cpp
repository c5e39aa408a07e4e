#include "engine/model/mean_loss.h"

#include "base/error.h"

#include <algorithm>
#include <optional>

namespace templar {

MeanLoss::MeanLoss(Llama& model, const Corpus& corpus, PageShape shape, int32_t end_token)
    : model_(model), corpus_(corpus), shape_(shape), end_token_(end_token) {
    if (shape.seq != model.seq())
        fail(ExitCode::input, "mean loss: pages of {} tokens a sequence, expected the model's {}", shape.seq,
             model.seq());
    const auto tokens = static_cast<size_t>(model.batch() * model.seq());
    tokens_.resize(tokens);
    labels_.resize(tokens);
}

std::span<const int64_t> MeanLoss::starts_of(std::span<const SequenceId> sequences) {
    starts_.clear();
    for (const SequenceId& id : sequences) starts_.push_back(sequence_start(corpus_, shape_, id.page, id.sequence));
    return starts_;
}

// Sums pass(tokens, labels).wait() over one batch after the other; the device has the next one while the losses of the
// last are added.
template <class Pass>
MeanLoss::Sum MeanLoss::over_batches(std::span<const int64_t> starts, Pass pass) {
    const auto seq = static_cast<size_t>(shape_.seq), batch = static_cast<size_t>(model_.batch());
    Sum sum;
    std::optional<Llama::Pending> last;
    const auto add_last = [&] {
        if (last)
            for (float loss : last->wait()) sum.loss += loss;
    };
    for (size_t begin = 0; begin < starts.size(); begin += batch) {
        const size_t rows = std::min(batch, starts.size() - begin), tokens = rows * seq;
        for (size_t row = 0; row < rows; ++row)
            read_window(corpus_, starts[begin + row], end_token_, std::span(tokens_).subspan(row * seq, seq),
                        std::span(labels_).subspan(row * seq, seq));
        const std::span<const int32_t> labels = std::span(labels_).first(tokens);
        const Llama::Pending next = pass(std::span<const int32_t>(tokens_).first(tokens), labels);
        add_last();
        last = next;
        sum.counted += std::ranges::count_if(labels, [](int32_t label) { return label >= 0; });
    }
    add_last();
    return sum;
}

double MeanLoss::operator()(Tensor weights, std::span<const SequenceId> sequences) {
    return at(weights, starts_of(sequences));
}

double MeanLoss::at(Tensor weights, std::span<const int64_t> starts) {
    const Sum sum =
        over_batches(starts, [&](auto tokens, auto labels) { return model_.losses(weights, tokens, labels); });
    if (sum.counted == 0)
        fail(ExitCode::input, "mean loss: {} sequences without a single target to predict", starts.size());
    return sum.loss / static_cast<double>(sum.counted);
}

MeanLoss::Sum MeanLoss::with_gradient(Tensor weights, std::span<const SequenceId> sequences, Tensor grads) {
    return with_gradient_at(weights, starts_of(sequences), grads);
}

MeanLoss::Sum MeanLoss::with_gradient_at(Tensor weights, std::span<const int64_t> starts, Tensor grads) {
    return over_batches(starts, [&](auto tokens, auto labels) {
        return model_.forward_backward(weights, grads, tokens, labels, 1.0f);
    });
}

std::vector<SequenceId> spread_sequences(const Corpus& corpus, int64_t seq, int64_t count) {
    const int64_t all = page_count(corpus, {1, seq}), taken = std::min(count, all);
    std::vector<SequenceId> ids;
    for (int64_t i = 0; i < taken; ++i) ids.push_back({i * all / taken, 0});
    return ids;
}

}  // namespace templar
