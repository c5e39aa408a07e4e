#include "eval/scorer.h"

#include "base/error.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace templar {

namespace {

// Longest first; those of equal inputs beside each other, the one that scores most of them first.
std::vector<size_t> sorted(std::span<const Request> requests) {
    std::vector<size_t> order(requests.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t left, size_t right) {
        const Request &a = requests[left], &b = requests[right];
        if (a.tokens.size() != b.tokens.size()) return a.tokens.size() > b.tokens.size();
        if (!std::ranges::equal(a.inputs(), b.inputs()))
            return std::ranges::lexicographical_compare(a.inputs(), b.inputs());
        return a.scored != b.scored ? a.scored > b.scored : a.tokens.back() < b.tokens.back();
    });
    return order;
}

}  // namespace

// Sequences on their way through the model. Requests of equal inputs share one: their targets differ in the last.
struct Scorer::Batch {
    struct Part {
        size_t request;
        size_t shared;  // the sequence's targets but the last ones end here; the request's are the `scored` - 1 before
        size_t last;    // and this
    };
    Llama::Pending pending;
    size_t length = 0;  // of each sequence
    std::vector<Part> parts;
};

Scorer::Scorer(Device& device, const LlamaConfig& config, std::span<const float> params, int64_t length,
               int64_t batch_tokens)
    : weights_(device, params),
      model_(device, config, std::max<int64_t>(1, batch_tokens / std::max<int64_t>(1, length)), length,
             Pass::inference) {
    tokens_.reserve(static_cast<size_t>(model_.batch() * model_.seq()));
    targets_.reserve(tokens_.capacity());
}

// Takes as many requests as there is room for, each made as long as the first of them.
Scorer::Batch Scorer::start(std::span<const Request> requests, std::span<const size_t> order, size_t& next) {
    Batch batch;
    batch.length = requests[order[next]].inputs().size();
    tokens_.clear();
    targets_.clear();
    while (next < order.size() && add(batch, requests, order[next])) ++next;
    batch.pending = model_.target_losses(weights_.tensor(), tokens_, static_cast<int64_t>(batch.length), targets_);
    return batch;
}

// False, and nothing done, when there is no room for it, or when more than an eighth of its sequence would be padding
// (of a few requests the last are much shorter than the first). The first of a batch always fits, since it scores no
// more tokens than it has inputs.
bool Scorer::add(Batch& batch, std::span<const Request> requests, size_t index) {
    const Request& request = requests[index];
    const Request* const before = batch.parts.empty() ? nullptr : &requests[batch.parts.back().request];
    if (8 * request.inputs().size() < 7 * batch.length) return false;
    const bool shares = before && std::ranges::equal(before->inputs(), request.inputs());
    const bool equal = shares && before->tokens.back() == request.tokens.back();
    const size_t tokens = shares ? 0 : batch.length;
    const size_t targets = equal ? 0 : shares ? 1 : static_cast<size_t>(request.scored);
    const auto room = static_cast<size_t>(model_.batch() * model_.seq());
    if (tokens_.size() + tokens > room || targets_.size() + targets > room) return false;

    Batch::Part part = shares ? batch.parts.back() : Batch::Part{};
    part.request = index;
    if (!shares) {
        place(request, batch.length);
        part.shared = part.last = targets_.size() - 1;
    } else if (!equal) {
        targets_.push_back({targets_[part.last].position, request.tokens.back()});
        part.last = targets_.size() - 1;
    }
    batch.parts.push_back(part);
    return true;
}

// A sequence of its own, with padding behind it.
void Scorer::place(const Request& request, size_t length) {
    const size_t begin = tokens_.size(), end = begin + request.inputs().size();
    for (auto back = static_cast<size_t>(request.scored); back > 0; --back)
        targets_.push_back({static_cast<int32_t>(end - back), request.tokens[request.tokens.size() - back]});
    tokens_.insert(tokens_.end(), request.inputs().begin(), request.inputs().end());
    tokens_.resize(begin + length);
}

void Scorer::check(const Request& request) const {
    const int64_t tokens = std::ssize(request.tokens);
    if (tokens < 2 || tokens > model_.seq() + 1)
        fail(ExitCode::input, "a request of {} tokens, expected 2 to {}", tokens, model_.seq() + 1);
    if (request.scored < 1 || request.scored >= tokens)
        fail(ExitCode::input, "a request of {} tokens that scores {}, expected 1 to {}", tokens, request.scored,
             tokens - 1);
}

void Scorer::score(std::span<const Request> requests, const Done& done) {
    for (const Request& request : requests) check(request);
    const std::vector<size_t> order = sorted(requests);
    const auto finish = [&](const Batch& batch) {
        const std::span<const float> losses = batch.pending.wait();
        const std::span<const uint8_t> greedy = batch.pending.greedy();
        return std::ranges::all_of(batch.parts, [&](const Batch::Part& part) {
            Score score{.loglikelihood = 0, .greedy = true};
            const auto include = [&](size_t target) {
                score.loglikelihood -= static_cast<double>(losses[target]);
                score.greedy = score.greedy && greedy[target] != 0;
            };
            const auto others = static_cast<size_t>(requests[part.request].scored - 1);
            for (size_t target = part.shared - others; target < part.shared; ++target) include(target);
            include(part.last);
            return done(part.request, score);
        });
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
