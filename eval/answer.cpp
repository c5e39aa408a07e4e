#include "eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace templar {

namespace {

// Sorting all requests at once would leave most items half answered until near the end.
constexpr size_t portion_requests = 2048;

int64_t longest(const Item& item) {
    int64_t tokens = 0;
    for (const Request& request : item.requests) tokens = std::max(tokens, std::ssize(request.tokens));
    return tokens;
}

// Requests of equal inputs are computed as one.
int64_t tokens_of(const Item& item) {
    int64_t tokens = 0;
    for (auto request = item.requests.begin(); request != item.requests.end(); ++request)
        if (std::none_of(item.requests.begin(), request,
                         [&](const Request& other) { return std::ranges::equal(other.inputs(), request->inputs()); }))
            tokens += std::ssize(request->inputs());
    return tokens;
}

void add(Answered& answered, const Item& item) {
    ++answered.items;
    answered.tokens += tokens_of(item);
}

nlohmann::json line_of(const Workload& work, const Item& item, const std::vector<Score>& scores) {
    nlohmann::json line = {{"task", work.name}, {"i", item.i}};
    for (size_t k = 0; k < scores.size(); ++k) {
        line["ll"].push_back(scores[k].loglikelihood);
        line["is_greedy"].push_back(scores[k].greedy);
        line["n_ctx"].push_back(item.requests[k].context);
        line["n_cont"].push_back(item.requests[k].scored);
    }
    if (!work.task) return line;
    line["gold"] = item.gold;
    if (!item.subject.empty()) line["subject"] = item.subject;
    const std::vector<int64_t> ones(scores.size(), 1);
    line["pred"] = best_answer(scores, ones);
    line["pred_norm"] = best_answer(scores, item.characters);
    return line;
}

// The scores that a line has. Throws Error(input) when it does not fit the item.
std::vector<Score> scores_of(const Workload& work, const Item& item, const nlohmann::json& line) {
    std::vector<int64_t> scored;
    for (const Request& request : item.requests) scored.push_back(request.scored);
    const size_t count = item.requests.size();
    const auto list_of = [&](const char* key) {
        return line.contains(key) && line[key].is_array() && line[key].size() == count;
    };
    bool good =
        list_of("ll") && list_of("is_greedy") && line.value("n_cont", nlohmann::json()) == nlohmann::json(scored);
    std::vector<Score> scores;
    for (size_t k = 0; good && k < count; ++k) {
        good = line["ll"][k].is_number() && line["is_greedy"][k].is_boolean();
        if (good) scores.push_back({line["ll"][k].get<double>(), line["is_greedy"][k].get<bool>()});
    }
    if (!good)
        fail(ExitCode::input,
             "the answers have a row {} of {} that does not fit its question; choose another file for --rows", item.i,
             work.name);
    return scores;
}

// Indices of the items without scores, the longest first.
std::vector<size_t> unanswered(const Workload& work, const ItemScores& scores) {
    std::vector<size_t> order;
    for (size_t k = 0; k < work.items.size(); ++k)
        if (scores[k].empty()) order.push_back(k);
    std::vector<int64_t> lengths(work.items.size());
    std::transform(work.items.begin(), work.items.end(), lengths.begin(), longest);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
    return order;
}

nlohmann::json identity(const Workload& work) {
    nlohmann::json identity = {{"sha256", to_hex(work.file.hash)}};
    if (work.task)
        identity["version"] = work.task->version;
    else
        identity["overlap"] = work.overlap;
    return identity;
}

void check_finite(const Workload& work, const Item& item, const Score& score) {
    if (!std::isfinite(score.loglikelihood))
        fail(ExitCode::input,
             "{} row {}: the log-likelihood is {}: the model's weights are broken, or too large for --dtype", work.name,
             item.i, score.loglikelihood);
}

}  // namespace

Answered everything(const Workload& work) {
    Answered all;
    for (const Item& item : work.items) add(all, item);
    return all;
}

ItemScores answer(const Workload& work, Scorer& scorer, RowsFile& rows,
                  const std::function<bool(const Answered&)>& done) {
    rows.begin(work.name, identity(work));
    ItemScores scores(work.items.size());
    Answered answered;
    for (size_t k = 0; k < work.items.size(); ++k)
        if (const nlohmann::json* line = rows.find(work.name, work.items[k].i)) {
            scores[k] = scores_of(work, work.items[k], *line);
            add(answered, work.items[k]);
        }
    const std::vector<size_t> order = unanswered(work, scores);
    bool go_on = done(answered);
    for (size_t next = 0; go_on && next < order.size();) {
        std::vector<Request> requests;
        std::vector<std::pair<size_t, size_t>> owner;  // item, its request
        const size_t first = next;
        for (; next < order.size() && requests.size() < portion_requests; ++next)
            for (size_t r = 0; r < work.items[order[next]].requests.size(); ++r) {
                requests.push_back(work.items[order[next]].requests[r]);
                owner.emplace_back(order[next], r);
            }
        std::vector<size_t> missing(work.items.size());
        for (size_t k = first; k < next; ++k) missing[order[k]] = work.items[order[k]].requests.size();
        scorer.score(requests, [&](size_t request, const Score& score) {
            const auto [k, r] = owner[request];
            check_finite(work, work.items[k], score);
            scores[k].resize(work.items[k].requests.size());
            scores[k][r] = score;
            if (--missing[k] > 0) return true;
            rows.append(line_of(work, work.items[k], scores[k]));
            add(answered, work.items[k]);
            return go_on = done(answered);
        });
    }
    if (!go_on)
        fail(ExitCode::interrupted, "stopped in {} after {} of {} rows", work.name, answered.items, work.items.size());
    return scores;
}

}  // namespace templar
