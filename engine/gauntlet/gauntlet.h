// The Gauntlet: what a validator concludes from the facts of a window (docs/protocol.md §8). Pure bookkeeping: facts in,
// scores, penalties and weights out. Losses are measured by stage2.h, fetching is done by net/.
#pragma once

#include "base/sha256.h"
#include "engine/gauntlet/openskill.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

struct GauntletParams {
    OpenSkillParams openskill;
    double binary_decay = 0.95;          // B <- decay·B + (1 - decay)·b
    double bma_threshold = 0.0;
    double weight_power = 2.0;
    double eval_step_share = 0.2;        // candidate step = share·eta
    int64_t active_windows = 5;          // active: committed in one of the last n windows
    int64_t reset_windows = 25;          // inactive for longer: ratings forgotten
    double missing_factor = 0.75;
    double behind_factor = 0.75;
    int64_t behind_limit = 3;            // more windows behind than this are penalised
    int64_t sync_windows = 5;            // (1 - min(n, sync_windows)/sync_windows)^sync_exponent
    double sync_exponent = 2.5;
    double overlap_flag = 0.4, overlap_flag_factor = 0.5;
    double overlap_ban = 0.6;
    int64_t ban_windows = 20;
    bool operator==(const GauntletParams&) const = default;
};

// Why a payload was refused or a score reduced: a code for programs, evidence for people.
enum class Reason {
    none,
    no_commit,        // nothing committed for this window
    late,             // commit or reveal after its deadline
    hash_differs,     // payload is not the committed one
    not_retrievable,  // payload missing or unreadable
    malformed,        // wrong length, layout, signature, proof, code, index, window or run
    behind,           // made from an older or unknown state
    overlap,          // indices mostly equal to an earlier commit
    banned,           // still banned
    inactive
};
inline constexpr std::string_view reason_codes[] = {
    "none",      "no_commit", "late",    "hash_differs", "not_retrievable",
    "malformed", "behind",    "overlap", "banned",       "inactive"};
static_assert(std::size(reason_codes) == static_cast<size_t>(Reason::inactive) + 1);
std::string_view reason_name(Reason reason);

struct Penalty {
    Reason reason = Reason::none;
    std::string evidence;  // what was expected, what was found
    double factor_score = 1.0;  // applied to F when positive
    double factor_binary = 1.0; // applied to B when positive
};

// Facts about one peer's submission for one window, gathered by the validator.
struct Submission {
    Reason fault = Reason::none;         // no_commit … malformed; none: arrived and well-formed
    std::string evidence;
    std::optional<int64_t> windows_behind;  // 0: in sync; n: root_w is the state n windows back; empty: unknown root
    double overlap = 0.0;                // largest index overlap with an earlier commit of another peer
    std::string overlap_with;            // whose
};

// Losses of one peer at theta and at its candidate, mean nats per token.
struct Evaluation {
    double own_before = 0, own_after = 0, random_before = 0, random_after = 0;
    double screen = 0;  // first-order prediction of random_before - random_after
    double own_improvement() const { return own_before > 0 ? (own_before - own_after) / own_before : 0; }
    double random_improvement() const { return random_before > 0 ? (random_before - random_after) / random_before : 0; }
};

// What a validator remembers about a hotkey. It belongs to the hotkey, never to the uid slot.
struct PeerState {
    Rating rating;
    bool rated = false;
    double binary_average = 0.0;  // B
    double sync = 1.0;
    double final_score = 0.0;     // F
    double weight = 0.0;
    int64_t last_commit = -1;     // window
    int64_t banned_until = -1;    // first window it may take part again
    Penalty last_penalty;
    int64_t last_penalty_window = -1;
};

// Stage 1 of one peer: what follows from its submission. `accepted` payloads may enter the record and stage 2.
struct Stage1Verdict {
    bool accepted = false;
    Penalty penalty;  // reason none when there is none
    bool zero_score = false;  // F := 0
};

class Gauntlet {
  public:
    explicit Gauntlet(GauntletParams params) : params_(params) {}

    // Stage 1 for window w (§8.1), once per window and before stage 2. Applies penalties to the peers' states and
    // returns a verdict per peer. Accepted is what is well-formed, no copy, and made from this very window's state.
    // `own_fault`: this validator could not reach more than half of the gather peers, so nobody is penalised (the
    // verdicts keep their reasons, with factors of 1, and the faulty are not accepted all the same).
    // A peer that commits nothing is penalised only while active: a newcomer owes nothing before its first commit.
    std::map<Digest, Stage1Verdict> stage1(int64_t window, const std::map<Digest, Submission>& submissions,
                                           bool own_fault);

    // Stage 2 (§8.2, §8.3): evaluated peers' losses; `missing`: active peers whose payload did not arrive or was
    // refused: they enter the match with the lowest rank, all tied, as does an update that makes a loss NaN or
    // infinite. Updates B, ratings, F = ordinal · max(0, B - threshold) · sync · (factor of this window's stage 1
    // penalty), and weights. Banned peers take no part, nor do inactive ones in `missing`, nor any of `missing` in a
    // window of own fault. There is no match without two players and one measured score.
    void stage2(int64_t window, const std::map<Digest, Evaluation>& evaluations, const std::vector<Digest>& missing);

    // Inactivity, once per window after stage 1: F × 0.75 for known peers that are not active in `window`; forgets
    // those inactive for too long, except their bans.
    void age(int64_t window);

    bool active(const Digest& hotkey, int64_t window) const;
    const std::map<Digest, PeerState>& peers() const { return peers_; }
    const GauntletParams& params() const { return params_; }

    // All but the parameters as JSON text, for the validator's checkpoint: save, kill −9, load, same bits. Load throws Error(input).
    std::string save() const;
    void load(std::string_view json);

  private:
    PeerState& peer(const Digest& hotkey);  // made anew if not known
    bool active(const PeerState& peer, int64_t window) const;
    Stage1Verdict judge(int64_t window, const Submission& submission, const PeerState& peer) const;
    void penalise(PeerState& peer, const Stage1Verdict& verdict, int64_t window) const;
    void play(const std::map<Digest, double>& scores);
    void update_score(PeerState& peer, int64_t window) const;
    void update_weights(int64_t window);

    GauntletParams params_;
    std::map<Digest, PeerState> peers_;
    int64_t own_fault_window_ = -1;  // the last one
};

// (1 - min(n, sync_windows)/sync_windows)^sync_exponent; empty (unknown root): 0.
double sync_factor(const GauntletParams& params, std::optional<int64_t> windows_behind);

// F^p/ΣF^p over F > 0, else all 0 (§8.3). Same order as `scores`.
std::vector<double> weights_from_scores(const std::vector<double>& scores, double power);

// Consensus over validators (§8.3). weights[v][p], taken as shares of their sum; stake[v]. A peer's median is the
// largest weight that validators with at least kappa of all stake give or exceed; what anyone gives beyond it is cut
// off. The stake-weighted sum of the rest is normalised; all 0 if there is none.
std::vector<double> consensus_weights(const std::vector<std::vector<double>>& weights,
                                      const std::vector<double>& stake, double kappa = 0.5);

}  // namespace templar
