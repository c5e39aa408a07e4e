// The objects of a window in the coordination bucket, and their keys (docs/protocol.md §3, §6, §8.5).
#pragma once

#include "engine/gauntlet/gauntlet.h"
#include "net/bucket/bucket.h"
#include "net/wire/envelope.h"

#include <optional>

namespace templar {

std::string commit_key(int64_t window, const Hotkey& hotkey);   // commit/<8-digit window>/<hotkey hex>
std::string payload_key(int64_t window, const Hotkey& hotkey);  // payload/<8-digit window>/<hotkey hex>
std::string record_key(int64_t window);                         // record/<8-digit window>
// secret/<8-digit window>/<hotkey hex>
std::string secret_commit_key(int64_t window, const Hotkey& validator);
std::string scores_key(int64_t window, const Hotkey& validator);  // scores/<8-digit window>/<hotkey hex>
inline constexpr const char* genesis_key = "genesis.safetensors";
inline constexpr const char* tokenizer_key = "data/tokenizer.json";
inline constexpr const char* manifest_key = "data/manifest.json";

// commit/<w>/<hotkey>: promises a payload before anyone can see it.
struct Commit {
    Digest run_id{};
    int64_t window = 0;
    Digest object_hash{};  // SHA-256 of the whole wire object
    int64_t object_bytes = 0;
    int64_t tokens = 0;
};

struct RecordEntry {
    int64_t uid = 0;
    Hotkey hotkey{};
    Digest object_hash{};
};
struct RecordRejection {
    int64_t uid = 0;
    Hotkey hotkey{};
    std::string reason;  // reason_name()
    std::string evidence;
};

// record/<w>: what changes the global weights.
struct Record {
    Digest run_id{};
    int64_t window = 0;
    Digest root{};                          // state at the window's start
    uint32_t eta_bits = 0;                  // fp32
    uint32_t keep_bits = 0;                 // fp32 weight-decay factor
    int64_t step = 0;                       // records with accepted payloads before this one
    std::vector<RecordEntry> accepted;      // ascending uid
    std::vector<RecordRejection> rejected;  // ascending uid
    std::vector<Hotkey> gather;             // for window + 2
    std::vector<Hotkey> reserve;
};

// One peer in scores/<w>.
struct ScoreEntry {
    int64_t uid = 0;
    Hotkey hotkey{};
    int64_t tokens = 0;
    bool evaluated = false;
    Evaluation evaluation;
    Rating before, after;
    double binary_average = 0, sync = 1, final_score = 0, weight = 0;
    double overlap = 0;
    Penalty penalty;                                         // of this window; reason none when there is none
    std::vector<std::pair<int64_t, int64_t>> own_sequences;  // (page, sequence) sampled
};
struct Scores {
    Digest run_id{};
    int64_t window = 0;
    Digest root{};
    Digest secret{};  // whose hash was in secret/<w>
    std::vector<std::pair<int64_t, int64_t>> random_sequences;
    double train_loss = 0;  // loss at theta on the window's random pages
    std::vector<ScoreEntry> peers;
};

// Each writes the body as JSON text; each parse is strict and throws Error(input) naming the field. run_id
// and window must agree with what the caller expects.
std::string commit_to_json(const Commit& commit);
Commit commit_from_json(std::string_view body, const Digest& run_id, int64_t window);
std::string record_to_json(const Record& record);
Record record_from_json(std::string_view body, const Digest& run_id, int64_t window);
std::string scores_to_json(const Scores& scores);
Scores scores_from_json(std::string_view body, const Digest& run_id, int64_t window);

inline constexpr int64_t max_commit_bytes = 4096;
inline constexpr int64_t max_record_bytes = 1 << 20;
inline constexpr int64_t max_scores_bytes = 4 << 20;

}  // namespace templar
