// What a run's logs tell: read them into a model, then summarise it as JSON or as one self-contained HTML
// page.
//
// A run folder holds swarm.json (optional: names, roles, the text, its unigram loss) and
// peers/<name>/events.jsonl, one JSON object per line. Logs are believed to be well meant but not well
// formed: a killed process leaves half a line, a full disk leaves garbage, and names and evidence come from
// strangers. Bad lines are skipped and counted, nothing is trusted to be a number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace templar {

// Stands for a number that a log lacks, or has as null.
inline constexpr double no_value = std::numeric_limits<double>::quiet_NaN();

// Who took part, by hotkey. Every index called `peer` below points into RunLog::peers.
struct PeerInfo {
    int64_t uid = -1;  // -1: unknown
    std::string name;
    std::string role = "unknown";  // miner, copycat, noise, validator, unknown
    std::string hotkey;            // hexadecimal; may be empty
};

// One peer in one window, as a validator scored it (docs/protocol.md §8).
struct PeerScore {
    size_t peer = 0;
    bool evaluated = false;
    double tokens = no_value;
    double own = no_value, random = no_value;  // relative improvement of the loss
    double screen = no_value;
    double mu = no_value, sigma = no_value, ordinal = no_value;
    double binary = no_value, sync = no_value, overlap = no_value;
    double score = no_value, weight = no_value;  // final score, share of the weights
};

struct PenaltyLine {
    int64_t window = 0;
    size_t peer = 0;
    std::string reason, evidence;
};

struct PhaseTime {
    std::string name;
    double seconds = no_value;
};

// One "window" event of a miner or a validator; what its role does not log stays no_value.
struct WindowLine {
    int64_t window = 0;
    int64_t time_ms = 0;
    std::string root;  // after this window's record
    double train_loss = no_value, heldout_loss = no_value;
    double tokens = no_value, tokens_per_second = no_value;
    double bytes_up = no_value, bytes_down = no_value;
    double accepted = no_value, rejected = no_value;  // payloads; a miner's own: 1 or 0
    std::vector<PhaseTime> phases;
    std::vector<PeerScore> scores;
};

struct ErrorLine {
    int64_t time_ms = 0;
    std::string message;
};

// One events.jsonl.
struct ParticipantLog {
    size_t peer = 0;
    bool validator = false;
    std::string folder;
    int64_t starts = 0;    // more than one: it was restarted
    bool stopped = false;  // its last word was "stop"; otherwise it was killed or still runs
    int64_t first_ms = 0, last_ms = 0;
    int64_t bad_lines = 0;   // neither JSON nor what an event looks like
    bool half_line = false;  // the log ends inside a line; that line is not among the bad ones
    std::vector<WindowLine>
        windows;  // ascending; of a window logged twice (before and after a restart) the later line
    std::vector<PenaltyLine> penalties;  // ascending by window
    std::vector<ErrorLine> errors;
};

struct RunLog {
    std::string folder;  // as the caller gave it
    std::string name, text, model_description, command;
    double model_parameters = no_value, unigram_loss = no_value, window_ms = no_value;
    int64_t started_ms = 0, last_ms = 0;
    std::string swarm_trouble;  // why swarm.json could not be used; empty: it was used or there is none
    std::vector<PeerInfo> peers;
    std::vector<ParticipantLog> participants;  // validators first, then by uid
    int64_t bad_lines() const;
};

// Reads a run folder (or the folder of one process, with its events.jsonl). Throws Error(input) when there is
// no log at all.
RunLog read_run(const std::filesystem::path& folder);

// Do the replicas hold the same state? Compares every root that was logged at the last window common to all
// logs and after it; an earlier difference that was healed is kept in `first_split`.
struct Agreement {
    bool equal = false;
    std::optional<int64_t> window;       // the last window that all have logged
    std::string root;                    // the root of that window (of most, when they differ)
    size_t replicas = 0;                 // logs with at least one root
    std::vector<size_t> silent;          // participants (indices) that logged none
    std::optional<int64_t> first_split;  // first window with two different roots
    struct Camp {
        std::string root;
        std::vector<size_t> participants;
    };
    int64_t camps_window = 0;  // where `camps` was taken: the newest window with two roots
    std::vector<Camp> camps;   // largest first; empty when no roots ever differed
};
Agreement root_agreement(const RunLog& run);

// A peer at the end of the run, as the leading validator (the one with the longest log) scored it.
struct Standing {
    size_t peer = 0;
    double tokens = no_value;                            // in all
    double own_mean = no_value, random_mean = no_value;  // over the windows in which it was evaluated
    PeerScore last;
};
// Miners of any role, ranked by final score, then ordinal, then uid.
std::vector<Standing> standings(const RunLog& run);
const ParticipantLog* leading_validator(const RunLog& run);  // null when no validator has logged a window

struct LossRange {
    double start = no_value, end = no_value;
    int64_t start_window = 0, end_window = 0;
};
LossRange heldout_range(const RunLog& run);

// Penalties with the same peer and reason in consecutive windows of the validator's log, collapsed; newest
// first.
struct PenaltyGroup {
    size_t peer = 0;
    std::string reason, evidence;  // evidence of the last one
    int64_t first_window = 0, last_window = 0, count = 0;
};
std::vector<PenaltyGroup> penalty_groups(const ParticipantLog& validator);

int64_t window_count(const RunLog& run);  // different windows in all logs
double run_seconds(const RunLog& run);

// {"heldout_loss_start","heldout_loss_end","unigram_loss","roots_equal","root","replicas","windows","seconds","peers":[{"uid","name","role",
// "tokens","rating","mu","sigma","binary_average","sync","final_score","weight"}]}; what is not known is
// null.
std::string summary_json(const RunLog& run);

// One HTML page: no scripts, nothing loaded from anywhere, same logs same bytes. Well-formed as XML too.
std::string render_report(const RunLog& run);

}  // namespace templar
