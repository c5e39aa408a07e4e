// What follows from a RunLog: agreement of the replicas, standings, penalties, and the summary in JSON.
#include "node/report.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

namespace templar {

namespace {

// Roots of one window, by participant.
using Roots = std::vector<std::pair<size_t, const std::string*>>;

std::vector<Agreement::Camp> camps_of(const Roots& roots) {
    std::vector<Agreement::Camp> camps;
    for (const auto& [participant, root] : roots) {
        auto camp = std::find_if(camps.begin(), camps.end(), [&](const auto& c) { return c.root == *root; });
        if (camp == camps.end()) camp = camps.insert(camps.end(), {*root, {}});
        camp->participants.push_back(participant);
    }
    std::stable_sort(camps.begin(), camps.end(), [](const auto& a, const auto& b) {
        return a.participants.size() > b.participants.size();
    });
    return camps;
}

nlohmann::json value_or_null(double value) {
    return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

Agreement root_agreement(const RunLog& run) {
    Agreement result;
    std::map<int64_t, Roots> by_window;
    for (size_t i = 0; i < run.participants.size(); ++i) {
        bool any = false;
        for (const WindowLine& line : run.participants[i].windows) {
            if (line.root.empty()) continue;
            any = true;
            by_window[line.window].emplace_back(i, &line.root);
        }
        if (any)
            ++result.replicas;
        else
            result.silent.push_back(i);
    }
    std::optional<int64_t> last_split;
    for (const auto& [window, roots] : by_window) {
        if (roots.size() == result.replicas) result.window = window;
        const bool split = std::any_of(roots.begin(), roots.end(),
                                       [&](const auto& r) { return *r.second != *roots[0].second; });
        if (!split) continue;
        if (!result.first_split) result.first_split = window;
        last_split = window;
    }
    if (last_split) {
        result.camps_window = *last_split;
        result.camps = camps_of(by_window[*last_split]);
    }
    if (by_window.empty()) return result;
    const int64_t shown = result.window.value_or(by_window.rbegin()->first);
    result.root = camps_of(by_window[shown]).front().root;
    result.equal = !last_split || (result.window && *last_split < *result.window);
    return result;
}

const ParticipantLog* leading_validator(const RunLog& run) {
    const ParticipantLog* leader = nullptr;
    for (const ParticipantLog& log : run.participants)
        if (log.validator && !log.windows.empty() && (!leader || log.windows.size() > leader->windows.size()))
            leader = &log;
    return leader;
}

std::vector<Standing> standings(const RunLog& run) {
    std::map<size_t, Standing> by_peer;
    for (size_t i = 0; i < run.peers.size(); ++i)
        if (run.peers[i].role != "validator") by_peer[i].peer = i;
    struct Sums {
        double own = 0, random = 0, tokens = 0;
        int64_t own_count = 0, random_count = 0, token_count = 0;
    };
    std::map<size_t, Sums> sums;
    std::map<size_t, int64_t> last_window;
    int64_t last_scored = -1;
    if (const ParticipantLog* leader = leading_validator(run)) {
        for (const WindowLine& line : leader->windows) {
            if (!line.scores.empty()) last_scored = line.window;
            for (const PeerScore& score : line.scores) {
                Sums& sum = sums[score.peer];
                if (std::isfinite(score.tokens)) sum.tokens += score.tokens, ++sum.token_count;
                if (score.evaluated && std::isfinite(score.own)) sum.own += score.own, ++sum.own_count;
                if (score.evaluated && std::isfinite(score.random))
                    sum.random += score.random, ++sum.random_count;
                by_peer[score.peer].peer = score.peer;
                by_peer[score.peer].last = score;
                last_window[score.peer] = line.window;
            }
        }
    }
    // A peer that no validator saw still knows how much it trained.
    for (const ParticipantLog& log : run.participants) {
        if (log.validator || sums[log.peer].token_count > 0) continue;
        for (const WindowLine& line : log.windows)
            if (std::isfinite(line.tokens))
                sums[log.peer].tokens += line.tokens, ++sums[log.peer].token_count;
    }
    std::vector<Standing> result;
    for (auto& [peer, standing] : by_peer) {
        const Sums& sum = sums[peer];
        if (sum.token_count > 0) standing.tokens = sum.tokens;
        if (sum.own_count > 0) standing.own_mean = sum.own / static_cast<double>(sum.own_count);
        if (sum.random_count > 0) standing.random_mean = sum.random / static_cast<double>(sum.random_count);
        // Weights are of the last window; a peer that had left by then has none.
        if (!last_window.contains(peer) || last_window[peer] != last_scored)
            standing.last.score = standing.last.weight = no_value;
        result.push_back(standing);
    }
    const auto key = [](double value) { return std::isfinite(value) ? -value : INFINITY; };
    std::sort(result.begin(), result.end(), [&](const Standing& a, const Standing& b) {
        return std::tuple(key(a.last.score), key(a.last.ordinal), run.peers[a.peer].uid, a.peer) <
               std::tuple(key(b.last.score), key(b.last.ordinal), run.peers[b.peer].uid, b.peer);
    });
    return result;
}

LossRange heldout_range(const RunLog& run) {
    LossRange range;
    const ParticipantLog* leader = leading_validator(run);
    if (!leader) return range;
    for (const WindowLine& line : leader->windows) {
        if (!std::isfinite(line.heldout_loss)) continue;
        if (!std::isfinite(range.start)) range.start = line.heldout_loss, range.start_window = line.window;
        range.end = line.heldout_loss, range.end_window = line.window;
    }
    return range;
}

std::vector<PenaltyGroup> penalty_groups(const ParticipantLog& validator) {
    std::map<int64_t, size_t>
        position;  // of a window in the log: windows the validator slept through do not break a series
    for (size_t i = 0; i < validator.windows.size(); ++i) position[validator.windows[i].window] = i;
    std::vector<PenaltyGroup> groups;
    std::map<std::pair<size_t, std::string>, size_t> newest;
    for (const PenaltyLine& line : validator.penalties) {
        const auto [found, fresh] = newest.try_emplace({line.peer, line.reason}, groups.size());
        if (!fresh) {
            PenaltyGroup& group = groups[found->second];
            if (position[line.window] <= position[group.last_window] + 1) {
                group.last_window = line.window, group.evidence = line.evidence, ++group.count;
                continue;
            }
            found->second = groups.size();
        }
        groups.push_back({line.peer, line.reason, line.evidence, line.window, line.window, 1});
    }
    std::stable_sort(groups.begin(), groups.end(),
                     [](const auto& a, const auto& b) { return a.last_window > b.last_window; });
    return groups;
}

int64_t window_count(const RunLog& run) {
    std::set<int64_t> windows;
    for (const ParticipantLog& log : run.participants)
        for (const WindowLine& line : log.windows) windows.insert(line.window);
    return static_cast<int64_t>(windows.size());
}

double run_seconds(const RunLog& run) {
    if (run.started_ms <= 0 || run.last_ms < run.started_ms) return no_value;
    return static_cast<double>(run.last_ms - run.started_ms) / 1000;
}

std::string summary_json(const RunLog& run) {
    const LossRange heldout = heldout_range(run);
    const Agreement agreement = root_agreement(run);
    nlohmann::json peers = nlohmann::json::array();
    for (const Standing& standing : standings(run)) {
        const PeerInfo& peer = run.peers[standing.peer];
        peers.push_back({{"uid", peer.uid < 0 ? nlohmann::json(nullptr) : nlohmann::json(peer.uid)},
                         {"name", peer.name},
                         {"role", peer.role},
                         {"tokens", value_or_null(standing.tokens)},
                         {"rating", value_or_null(standing.last.ordinal)},
                         {"mu", value_or_null(standing.last.mu)},
                         {"sigma", value_or_null(standing.last.sigma)},
                         {"binary_average", value_or_null(standing.last.binary)},
                         {"sync", value_or_null(standing.last.sync)},
                         {"final_score", value_or_null(standing.last.score)},
                         {"weight", value_or_null(standing.last.weight)}});
    }
    const nlohmann::json summary = {{"heldout_loss_start", value_or_null(heldout.start)},
                                    {"heldout_loss_end", value_or_null(heldout.end)},
                                    {"unigram_loss", value_or_null(run.unigram_loss)},
                                    {"roots_equal", agreement.equal},
                                    {"root", agreement.root},
                                    {"replicas", agreement.replicas},
                                    {"windows", window_count(run)},
                                    {"seconds", value_or_null(run_seconds(run))},
                                    {"peers", peers}};
    return summary.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace templar
