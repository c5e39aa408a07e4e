#include "eval/bootstrap.h"
#include "eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace templar {

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

// Hits of the answers whose log-likelihood over divisors(item) is largest.
template <class Divisors>
Mean accuracy(const Workload& work, const ItemScores& scores, std::span<const size_t> items, Divisors divisors) {
    std::vector<double> hits;
    for (const size_t k : items) {
        const Item& item = work.items[k];
        hits.push_back(best_answer(scores[k], divisors(item)) == item.gold ? 1 : 0);
    }
    return mean_of(hits);
}

std::vector<int64_t> ones(const Item& item) {
    return std::vector<int64_t>(item.requests.size(), 1);
}

Figure figure(std::string name, const Mean& mean) {
    return {std::move(name), mean.value, mean.error};
}

std::vector<size_t> all_items(const Workload& work) {
    std::vector<size_t> items(work.items.size());
    for (size_t k = 0; k < items.size(); ++k) items[k] = k;
    return items;
}

Result last_word(const Workload& work, const ItemScores& scores) {
    std::vector<double> loglikelihoods, greedy;
    for (const std::vector<Score>& score : scores) {
        loglikelihoods.push_back(score[0].loglikelihood);
        greedy.push_back(score[0].greedy ? 1 : 0);
    }
    const Mean mean = mean_of(loglikelihoods);
    return {work.name,
            mean.n,
            {{"perplexity", std::exp(-mean.value), bootstrap_perplexity_error(loglikelihoods)},
             figure("acc", mean_of(greedy))},
            {},
            {}};
}

Result text(const Workload& work, const ItemScores& scores) {
    double loss = 0;
    int64_t tokens = 0;
    for (size_t k = 0; k < scores.size(); ++k) {
        loss -= scores[k][0].loglikelihood;
        tokens += work.items[k].requests[0].scored;
    }
    const auto per = [&](int64_t count) { return loss / static_cast<double>(count); };
    Result result{work.name, work.documents, {}, {}, {}};
    result.figures = {{"word_perplexity", std::exp(per(work.words)), none},
                      {"byte_perplexity", std::exp(per(work.bytes)), none},
                      {"bits_per_byte", per(work.bytes) / std::log(2.0), none},
                      {"token_perplexity", std::exp(per(tokens)), none},
                      {"tokens", static_cast<double>(tokens), none},
                      {"words", static_cast<double>(work.words), none},
                      {"bytes", static_cast<double>(work.bytes), none}};
    return result;
}

// lm-eval's groups: pooled over their subjects, and over all.
void add_subjects(Result& result, const Workload& work, const ItemScores& scores) {
    std::map<std::string_view, std::vector<Mean>> groups;
    std::vector<Mean> all;
    for (const Subject& subject : work.task->subjects) {
        std::vector<size_t> items = all_items(work);
        std::erase_if(items, [&](size_t k) { return work.items[k].subject != subject.name; });
        if (items.empty()) continue;
        const Mean mean = accuracy(work, scores, items, ones);
        result.subjects.push_back({std::string(subject.name), mean.n, {figure("acc", mean)}, {}, {}});
        groups[subject.group].push_back(mean);
        all.push_back(mean);
    }
    for (const auto& [name, means] : groups) {
        const Mean mean = pooled(means);
        result.groups.push_back({std::string(name), mean.n, {figure("acc", mean)}, {}, {}});
    }
    result.figures = {figure("acc", pooled(all))};
}

}  // namespace

Result summarize(const Workload& work, const ItemScores& scores) {
    if (!work.task) return text(work, scores);
    if (work.task->measure == Measure::last_word) return last_word(work, scores);
    Result result{work.name, std::ssize(work.items), {}, {}, {}};
    if (!work.task->subjects.empty()) {
        add_subjects(result, work, scores);
        return result;
    }
    const std::vector<size_t> items = all_items(work);
    result.figures.push_back(figure("acc", accuracy(work, scores, items, ones)));
    if (work.task->measure == Measure::accuracy) return result;
    result.figures.push_back(
        figure("acc_norm", accuracy(work, scores, items, [](const Item& item) { return item.characters; })));
    result.figures.push_back(
        figure("acc_bytes", accuracy(work, scores, items, [](const Item& item) { return item.bytes; })));
    return result;
}

}  // namespace templar
