#include "engine/model/sampler.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace templar {

namespace {

void check(const SamplerOptions& options) {
    if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
        fail(ExitCode::usage, "temperature {}: expected 0 (the most likely token, always) or more",
             options.temperature);
    if (options.top_k < 0) fail(ExitCode::usage, "top-k {}: expected 0 (all tokens) or more", options.top_k);
    if (!(options.top_p >= 0 && options.top_p <= 1))
        fail(ExitCode::usage, "top-p {}: expected 0 (the most likely token alone) to 1 (all)", options.top_p);
}

// The first of the largest.
size_t most_likely(std::span<const float> logits) {
    size_t best = 0;
    for (size_t v = 0; v < logits.size(); ++v) {
        if (!(logits[v] < std::numeric_limits<float>::infinity()))
            fail(ExitCode::input, "the logit of token {} is {}: the model's weights are broken", v, logits[v]);
        if (logits[v] > logits[best]) best = v;
    }
    if (logits.empty() || std::isinf(logits[best]))
        fail(ExitCode::input, "none of {} tokens has a logit above -infinity: the model's weights are broken",
             logits.size());
    return best;
}

// Token ids from the most likely on, equal ones by their id; each is found when it is first asked for.
class MostLikely {
  public:
    MostLikely(std::span<const float> logits, std::vector<int32_t>& order) : logits_(logits), heap_(order) {
        heap_.resize(logits.size());
        std::iota(heap_.begin(), heap_.end(), 0);
        std::ranges::make_heap(heap_, Later{logits_});
    }
    int32_t operator[](size_t i) {
        for (; taken_ <= i; ++taken_) {
            const auto end = heap_.end() - static_cast<std::ptrdiff_t>(taken_);
            std::ranges::pop_heap(heap_.begin(), end, Later{logits_});
        }
        return heap_[heap_.size() - 1 - i];
    }

  private:
    struct Later {
        std::span<const float> logits;
        bool operator()(int32_t a, int32_t b) const {
            const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
            return x < y || (x == y && a > b);
        }
    };
    std::span<const float> logits_;
    std::vector<int32_t>& heap_;
    size_t taken_ = 0;
};

// The first token at which the weights add up to more than `at`; the last with a weight when rounding says none.
template <class Order>
int32_t drawn(double at, size_t count, const std::vector<double>& weights, Order order) {
    int32_t token = order(0);
    for (size_t i = 0; i < count; ++i) {
        const int32_t candidate = order(i);
        const double weight = weights[static_cast<size_t>(candidate)];
        if (weight > 0) token = candidate;
        if (at < weight) break;
        at -= weight;
    }
    return token;
}

}  // namespace

Sampler::Sampler(SamplerOptions options)
    : options_(options), rng_(Sha256().update("sampler").update_le(options.seed).finish()) {
    check(options);
}

int32_t Sampler::next(std::span<const float> logits) {
    const size_t best = most_likely(logits), vocab = logits.size();
    if (options_.temperature == 0) return static_cast<int32_t>(best);

    weights_.resize(vocab);
    for (size_t v = 0; v < vocab; ++v)
        weights_[v] =
            std::exp((static_cast<double>(logits[v]) - static_cast<double>(logits[best])) / options_.temperature);
    const auto weight = [&](int32_t token) { return weights_[static_cast<size_t>(token)]; };

    const auto k = static_cast<uint64_t>(options_.top_k);
    size_t count = k == 0 ? vocab : static_cast<size_t>(std::min<uint64_t>(k, vocab));
    double total = 0;
    if (count == vocab && options_.top_p == 1) {
        for (const double w : weights_) total += w;
        return drawn(rng_.uniform() * total, vocab, weights_, [](size_t i) { return static_cast<int32_t>(i); });
    }
    MostLikely ranked(logits, order_);
    if (count == vocab)
        for (const double w : weights_) total += w;
    else
        for (size_t i = 0; i < count; ++i) total += weight(ranked[i]);
    if (options_.top_p < 1) {
        const double wanted = options_.top_p * total;
        size_t kept = 0;
        total = 0;
        do total += weight(ranked[kept++]);
        while (kept < count && total < wanted);
        count = kept;
    }
    return drawn(rng_.uniform() * total, count, weights_, [&](size_t i) { return ranked[i]; });
}

}  // namespace templar
