// Log-likelihoods of requests by a model on a device: batches of similar length through the forward pass alone.
#pragma once

#include "engine/model/llama.h"
#include "eval/model_weights.h"
#include "eval/requests.h"

#include <functional>

namespace templar {

struct Score {
    double loglikelihood = 0;  // of the scored tokens, in nats
    bool greedy = false;       // each of them is the most likely one
};

class Scorer {
  public:
    // params: fp32, the flat arena. Plans batches of about `batch_tokens` tokens, one sequence of `length` at least;
    // the device and params outlive this object. Throws as Llama's constructor.
    Scorer(Device& device, const LlamaConfig& config, std::span<const float> params, int64_t length,
           int64_t batch_tokens);

    // Calls done(i, score) for each request, the longest first (so that what memory is short for shows at once),
    // requests of one length in their order. Ends early, with what is under way given up, when done returns false.
    // Requests with the same tokens are computed once. Throws Error(input) when a token is outside the vocabulary or a
    // request longer than `length`.
    using Done = std::function<bool(size_t request, const Score& score)>;
    void score(std::span<const Request> requests, const Done& done);

    const MemoryPlan& plan() const { return model_.plan(); }
    int64_t batch() const { return model_.batch(); }

  private:
    struct Batch;
    Batch start(std::span<const Request> requests, std::span<const size_t> order, size_t& next);

    ModelWeights weights_;
    Llama model_;
    std::vector<int32_t> tokens_, labels_;
};

}  // namespace templar
