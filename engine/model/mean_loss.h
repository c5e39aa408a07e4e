// The mean loss over chosen sequences of a corpus, with or without its gradient: held-out loss, stage 2,
// training.
#pragma once

#include "engine/data/corpus.h"
#include "engine/model/llama.h"

#include <vector>

namespace templar {

class MeanLoss {
  public:
    // `model` and `corpus` outlive this object. Throws Error(input) when the page's sequence length is not
    // the model's.
    MeanLoss(Llama& model, const Corpus& corpus, PageShape shape, int32_t end_token);

    // Mean in nats per counted token, with the model's weights as Llama takes them. Throws Error(input) when no target
    // counts.
    double operator()(Tensor weights, std::span<const SequenceId> sequences);
    // The same for sequences that begin at these tokens of the corpus.
    double at(Tensor weights, std::span<const int64_t> starts);

    struct Sum {
        double loss = 0;      // nats, over counted tokens
        int64_t counted = 0;  // targets that were not ignored
    };
    // The sum, and into grads (+=) the gradient of that sum.
    Sum with_gradient(Tensor weights, std::span<const SequenceId> sequences, Tensor grads);
    Sum with_gradient_at(Tensor weights, std::span<const int64_t> starts, Tensor grads);

  private:
    std::span<const int64_t> starts_of(std::span<const SequenceId> sequences);
    template <class Pass>
    Sum over_batches(std::span<const int64_t> starts, Pass pass);

    Llama& model_;
    const Corpus& corpus_;
    PageShape shape_;
    int32_t end_token_;
    std::vector<int32_t> tokens_, labels_;  // (batch, seq)
    std::vector<int64_t> starts_;
};

// `count` sequences of `seq` tokens (or as many as there are), spread evenly over the corpus; for pages of
// one sequence.
std::vector<SequenceId> spread_sequences(const Corpus& corpus, int64_t seq, int64_t count);

}  // namespace templar
