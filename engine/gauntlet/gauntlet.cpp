#include "engine/gauntlet/gauntlet.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <stdexcept>

namespace templar {

namespace {

// Two findings in one window: both factors apply, the later (graver) one gives the reason.
void add_finding(Penalty& penalty, Reason reason, const std::string& evidence, double factor) {
    penalty.reason = reason;
    penalty.factor_score *= factor;
    penalty.factor_binary *= factor;
    if (!penalty.evidence.empty()) penalty.evidence += "; ";
    penalty.evidence += evidence;
}

// F := 0, as a factor of 0 so that it holds for an F made anew later in the window too.
void set_to_zero(Stage1Verdict& verdict) {
    verdict.zero_score = true;
    verdict.penalty.factor_score = 0.0;
}

}  // namespace

std::string_view reason_name(Reason reason) {
    return reason_codes[static_cast<size_t>(reason)];
}

double sync_factor(const GauntletParams& params, std::optional<int64_t> windows_behind) {
    if (!windows_behind || *windows_behind < 0) return 0.0;
    const double share = static_cast<double>(std::min(*windows_behind, params.sync_windows)) /
                         static_cast<double>(params.sync_windows);
    return std::pow(1 - share, params.sync_exponent);
}

PeerState& Gauntlet::peer(const Digest& hotkey) {
    const auto [entry, inserted] = peers_.try_emplace(hotkey);
    if (inserted) entry->second.rating = {params_.openskill.mu, params_.openskill.sigma};
    return entry->second;
}

bool Gauntlet::active(const Digest& hotkey, int64_t window) const {
    const auto entry = peers_.find(hotkey);
    return entry != peers_.end() && active(entry->second, window);
}

bool Gauntlet::active(const PeerState& peer, int64_t window) const {
    return peer.last_commit >= 0 && window - peer.last_commit < params_.active_windows;
}

Stage1Verdict Gauntlet::judge(int64_t window, const Submission& submission, const PeerState& peer) const {
    Stage1Verdict verdict;
    Penalty& penalty = verdict.penalty;
    if (window < peer.banned_until) {
        penalty = {Reason::banned, fmt::format("banned until window {}", peer.banned_until)};
        set_to_zero(verdict);
        return verdict;
    }
    switch (submission.fault) {
        case Reason::none:
            break;
        case Reason::no_commit:
        case Reason::late:
        case Reason::hash_differs:
        case Reason::not_retrievable:
            add_finding(penalty, submission.fault, submission.evidence, params_.missing_factor);
            return verdict;
        case Reason::malformed:
            penalty = {submission.fault, submission.evidence};
            set_to_zero(verdict);
            return verdict;
        default:
            throw std::invalid_argument("Gauntlet: a submission's fault is one of no_commit … malformed");
    }

    // Made from an older state it is the gradient of another θ: no use to the merge, so not evaluated either.
    const std::optional<int64_t> behind = submission.windows_behind;
    verdict.accepted = behind == 0;
    if (!verdict.accepted) {
        const bool far = !behind || *behind < 0 || *behind > params_.behind_limit;
        add_finding(penalty, Reason::behind,
                    behind ? fmt::format("made from the state {} windows back", *behind)
                           : "made from an unknown state",
                    far ? params_.behind_factor : 1.0);
    }
    // A copier is one whether or not it is in sync.
    if (submission.overlap >= params_.overlap_flag) {
        const bool ban = submission.overlap >= params_.overlap_ban;
        add_finding(penalty, Reason::overlap,
                    fmt::format("index overlap {:.3f} with {}, expected below {:.3f}", submission.overlap,
                                submission.overlap_with, params_.overlap_flag),
                    ban ? 1.0 : params_.overlap_flag_factor);
        if (ban) {
            verdict.accepted = false;
            set_to_zero(verdict);
        }
    }
    return verdict;
}

std::map<Digest, Stage1Verdict> Gauntlet::stage1(int64_t window,
                                                 const std::map<Digest, Submission>& submissions,
                                                 bool own_fault) {
    if (own_fault) own_fault_window_ = window;
    std::map<Digest, Stage1Verdict> verdicts;
    for (const auto& [hotkey, submission] : submissions) {
        const bool committed = submission.fault != Reason::no_commit;
        // One who never committed leaves no trace here, so that registering alone costs nobody memory.
        PeerState newcomer;
        const bool known = committed || peers_.contains(hotkey);
        PeerState& state = known ? peer(hotkey) : newcomer;
        if (committed) state.last_commit = std::max(state.last_commit, window);

        Stage1Verdict verdict = judge(window, submission, state);
        if (own_fault || (!committed && !active(state, window))) {
            // Not accepted all the same; the reason is kept for the record.
            verdict.zero_score = false;
            verdict.penalty.factor_score = verdict.penalty.factor_binary = 1.0;
        } else {
            if (submission.fault == Reason::none)
                state.sync = sync_factor(params_, submission.windows_behind);
            penalise(state, verdict, window);
        }
        verdicts.emplace(hotkey, std::move(verdict));
    }
    update_weights(window);
    return verdicts;
}

void Gauntlet::penalise(PeerState& state, const Stage1Verdict& verdict, int64_t window) const {
    const Penalty& penalty = verdict.penalty;
    if (penalty.reason == Reason::none) return;
    if (verdict.zero_score) state.final_score = 0.0;
    if (verdict.zero_score && penalty.reason == Reason::overlap)
        state.banned_until = window + 1 + params_.ban_windows;
    if (state.final_score > 0) state.final_score *= penalty.factor_score;
    if (state.binary_average > 0) state.binary_average *= penalty.factor_binary;
    state.last_penalty = penalty;
    state.last_penalty_window = window;
}

void Gauntlet::stage2(int64_t window, const std::map<Digest, Evaluation>& evaluations,
                      const std::vector<Digest>& missing) {
    constexpr double lowest = -std::numeric_limits<double>::infinity();
    std::map<Digest, double> scores;
    bool measured = false;
    for (const auto& [hotkey, losses] : evaluations) {
        // θ's own losses are not the peer's doing: without them nothing was measured.
        if (!std::isfinite(losses.own_before) || !std::isfinite(losses.random_before)) continue;
        PeerState& state = peer(hotkey);
        if (window < state.banned_until) continue;
        state.last_commit = std::max(state.last_commit, window);

        // A hostile update can make the loss NaN or infinite. It loses to everybody.
        const double own = losses.own_improvement(), random = losses.random_improvement();
        const bool sound = std::isfinite(own) && std::isfinite(random);
        const double binary = sound && own > random ? 1.0 : -1.0;
        state.binary_average =
            params_.binary_decay * state.binary_average + (1 - params_.binary_decay) * binary;
        scores[hotkey] = sound ? random : lowest;
        measured |= sound;
    }
    // The absent lose too, but not when the fault was ours, nor when they could not take part at all.
    if (window != own_fault_window_)
        for (const Digest& hotkey : missing)
            if (active(hotkey, window) && window >= peers_.at(hotkey).banned_until)
                scores.try_emplace(hotkey, lowest);

    // A match in which nobody has a score would only pull the ratings of the absent together.
    if (measured && scores.size() >= 2) play(scores);
    for (const auto& [hotkey, score] : scores) update_score(peers_.at(hotkey), window);
    update_weights(window);
}

void Gauntlet::play(const std::map<Digest, double>& scores) {
    std::vector<Rating> ratings;
    std::vector<double> results;
    for (const auto& [hotkey, score] : scores) {
        ratings.push_back(peers_.at(hotkey).rating);
        results.push_back(score);
    }
    rate(params_.openskill, ratings, results);
    size_t i = 0;
    for (const auto& [hotkey, score] : scores) {
        PeerState& state = peers_.at(hotkey);
        state.rating = ratings[i++];
        state.rated = true;
    }
}

void Gauntlet::update_score(PeerState& state, int64_t window) const {
    state.final_score =
        state.rating.ordinal() * std::max(0.0, state.binary_average - params_.bma_threshold) * state.sync;
    // Made anew, F would forget what stage 1 found in this very window.
    if (state.last_penalty_window == window && state.final_score > 0)
        state.final_score *= state.last_penalty.factor_score;
}

void Gauntlet::age(int64_t window) {
    const bool own_fault = window == own_fault_window_;
    for (auto entry = peers_.begin(); entry != peers_.end();) {
        PeerState& state = entry->second;
        const bool banned = window < state.banned_until;
        // Nobody is absent from a window in which nobody could be present.
        if (own_fault && state.last_commit >= 0 && state.last_commit < window) ++state.last_commit;
        if (state.last_commit < 0 || window - state.last_commit > params_.reset_windows) {
            // A ban outlives everything else that is remembered.
            if (!banned) {
                entry = peers_.erase(entry);
                continue;
            }
            const int64_t banned_until = state.banned_until;
            state = {};
            state.rating = {params_.openskill.mu, params_.openskill.sigma};
            state.banned_until = banned_until;
        } else if (!active(state, window) && !own_fault) {
            if (state.final_score > 0) state.final_score *= params_.missing_factor;
            state.last_penalty = {Reason::inactive,
                                  fmt::format("no commit since window {}", state.last_commit),
                                  params_.missing_factor, 1.0};
            state.last_penalty_window = window;
        }
        ++entry;
    }
    update_weights(window);
}

void Gauntlet::update_weights(int64_t window) {
    std::vector<double> scores;
    // The banned have F = 0 already.
    for (const auto& [hotkey, state] : peers_)
        scores.push_back(active(state, window) ? state.final_score : 0.0);
    const std::vector<double> weights = weights_from_scores(scores, params_.weight_power);
    size_t i = 0;
    for (auto& [hotkey, state] : peers_) state.weight = weights[i++];
}

std::vector<double> weights_from_scores(const std::vector<double>& scores, double power) {
    // Relative to the largest, so that neither the powers nor their sum can overflow or vanish.
    double largest = 0;
    for (double score : scores)
        if (std::isfinite(score)) largest = std::max(largest, score);
    std::vector<double> weights(scores.size(), 0.0);
    if (largest == 0) return weights;
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i)
        if (std::isfinite(scores[i]) && scores[i] > 0)
            sum += weights[i] = std::pow(scores[i] / largest, power);
    for (double& weight : weights) weight /= sum;
    return weights;
}

namespace {

// As shares of 1, so that no validator gains a louder voice by large numbers. What is no weight counts as 0.
std::vector<double> normalised(std::vector<double> weights) {
    double sum = 0;
    for (double& weight : weights) {
        if (!(weight >= 0 && weight <= 1e100)) weight = 0;
        sum += weight;
    }
    if (sum > 0)
        for (double& weight : weights) weight /= sum;
    return weights;
}

}  // namespace

// Every reader of the ledger must get the same bits: only + · / in a stated order, ties in validator order.
std::vector<double> consensus_weights(const std::vector<std::vector<double>>& weights,
                                      const std::vector<double>& stake, double kappa) {
    if (weights.size() != stake.size())
        throw std::invalid_argument("consensus_weights: expected one stake per validator");
    if (weights.empty()) return {};
    const size_t peers = weights[0].size();
    std::vector<std::vector<double>> votes;
    for (const std::vector<double>& row : weights) {
        if (row.size() != peers)
            throw std::invalid_argument("consensus_weights: expected one weight per peer");
        votes.push_back(normalised(row));
    }
    double total = 0;
    for (double held : stake) {
        if (!(held >= 0 && held <= 1e100))
            throw std::invalid_argument("consensus_weights: stake must be 0 or more");
        total += held;
    }

    std::vector<size_t> order(votes.size());
    std::vector<double> consensus(peers, 0.0);
    for (size_t p = 0; p < peers; ++p) {
        std::iota(order.begin(), order.end(), size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return votes[a][p] > votes[b][p]; });
        double backing = 0, median = 0;
        for (size_t v : order) {
            backing += stake[v];
            median = votes[v][p];
            if (backing >= kappa * total) break;
        }
        for (size_t v = 0; v < votes.size(); ++v) consensus[p] += stake[v] * std::min(votes[v][p], median);
    }
    return normalised(consensus);
}

}  // namespace templar
