#include "eval/scorer.h"

#include "base/error.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace templar {

namespace {

int64_t inputs(const Request& request) {
    return std::ssize(request.tokens) - 1;
}

bool same(const Request& a, const Request& b) {
    return a.scored == b.scored && a.tokens == b.tokens;
}

// Longest first, equal ones beside each other.
std::vector<size_t> sorted(std::span<const Request> requests) {
    std::vector<size_t> order(requests.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t left, size_t right) {
        const Request &a = requests[left], &b = requests[right];
        if (a.tokens.size() != b.tokens.size()) return a.tokens.size() > b.tokens.size();
        return a.tokens != b.tokens ? a.tokens < b.tokens : a.scored < b.scored;
    });
    return order;
}

}  // namespace

// Rows on their way through the model: several requests each when they are equal.
struct Scorer::Batch {
    Llama::Pending pending;
    int64_t length = 0;
    std::vector<std::span<const size_t>> rows;
};

Scorer::Scorer(Device& device, const LlamaConfig& config, std::span<const float> params, int64_t length,
               int64_t batch_tokens)
    : weights_(device, params),
      model_(device, config, std::max<int64_t>(1, batch_tokens / std::max<int64_t>(1, length)), length,
             Pass::inference) {
    tokens_.resize(static_cast<size_t>(model_.batch() * model_.seq()));
    labels_.resize(tokens_.size());
}

// Takes as many requests as there is room for, each as long as the first of them.
Scorer::Batch Scorer::start(std::span<const Request> requests, std::span<const size_t> order, size_t& next) {
    Batch batch;
    batch.length = inputs(requests[order[next]]);
    if (batch.length < 1 || batch.length > model_.seq())
        fail(ExitCode::input, "a request of {} tokens, expected 1 to {}", batch.length, model_.seq());
    const auto length = static_cast<size_t>(batch.length), room = tokens_.size() / length;
    while (next < order.size() && batch.rows.size() < room) {
        size_t end = next + 1;
        while (end < order.size() && same(requests[order[end]], requests[order[next]])) ++end;
        batch.rows.push_back(order.subspan(next, end - next));
        next = end;
    }
    const size_t used = batch.rows.size() * length;
    std::fill_n(tokens_.begin(), used, 0);
    std::fill_n(labels_.begin(), used, Llama::ignore_label);
    for (size_t row = 0; row < batch.rows.size(); ++row) {
        const Request& request = requests[batch.rows[row].front()];
        const auto begin = static_cast<std::ptrdiff_t>(row * length);
        std::copy(request.tokens.begin(), request.tokens.end() - 1, tokens_.begin() + begin);
        std::copy(request.tokens.end() - request.scored, request.tokens.end(),
                  labels_.begin() + begin + inputs(request) - request.scored);
    }
    batch.pending =
        model_.losses(weights_.tensor(), std::span(tokens_).first(used), std::span(labels_).first(used), batch.length);
    return batch;
}

void Scorer::score(std::span<const Request> requests, const Done& done) {
    const std::vector<size_t> order = sorted(requests);
    const auto finish = [&](const Batch& batch) {
        const std::span<const float> losses = batch.pending.wait();
        const std::span<const uint8_t> greedy = batch.pending.greedy();
        for (size_t row = 0; row < batch.rows.size(); ++row) {
            const Request& request = requests[batch.rows[row].front()];
            const auto end = static_cast<size_t>(static_cast<int64_t>(row) * batch.length + inputs(request));
            Score score{.loglikelihood = 0, .greedy = true};
            for (size_t at = end - static_cast<size_t>(request.scored); at < end; ++at) {
                score.loglikelihood -= static_cast<double>(losses[at]);
                score.greedy = score.greedy && greedy[at] != 0;
            }
            for (const size_t index : batch.rows[row])
                if (!done(index, score)) return false;
        }
        return true;
    };
    // The device has the next batch while the scores of the last are added.
    std::optional<Batch> last;
    for (size_t next = 0; next < order.size();) {
        Batch batch = start(requests, order, next);
        if (last && !finish(*last)) return;
        last = std::move(batch);
    }
    if (last) finish(*last);
}

}  // namespace templar
