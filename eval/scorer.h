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

    // Calls done(i, score) for each request, the longest first (so that what memory is short for shows at once). Ends
    // early, with what is under way given up, when done returns false. Requests whose tokens are equal up to the last
    // are computed as one. Throws Error(input) when a token is outside the vocabulary, a request longer than `length`
    // and the token that is only predicted, or none or all of its tokens are scored.
    using Done = std::function<bool(size_t request, const Score& score)>;
    void score(std::span<const Request> requests, const Done& done);

    const MemoryPlan& plan() const { return model_.plan(); }
    int64_t batch() const { return model_.batch(); }

  private:
    struct Batch;
    Batch start(std::span<const Request> requests, std::span<const size_t> order, size_t& next);
    bool add(Batch& batch, std::span<const Request> requests, size_t index);
    void place(const Request& request, size_t length);
    void check(const Request& request) const;

    ModelWeights weights_;
    Llama model_;
    std::vector<int32_t> tokens_;
    std::vector<Llama::Target> targets_;
};

}  // namespace templar
