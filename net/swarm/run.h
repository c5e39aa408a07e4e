// run.json: everything that fixes a run (docs/protocol.md §1). Nothing that changes a bit of the model comes
// from a command line.
#pragma once

#include "engine/compress/layout.h"
#include "engine/data/corpus.h"
#include "engine/gauntlet/gauntlet.h"
#include "engine/optim/schedule.h"
#include "net/bucket/bucket.h"
#include "net/chain/chain.h"

namespace templar {

struct ValidatorEntry {
    Hotkey hotkey{};
    double stake = 1.0;
};

struct RunDescription {
    std::string name;
    LlamaConfig model;
    int64_t seq = 2048;
    Digest tokenizer{};     // SHA-256 of tokenizer.json
    Digest manifest{};      // SHA-256 of data/manifest.json
    Digest genesis_root{};  // state root of genesis.safetensors
    int32_t end_token = -1;

    // clock
    int64_t t0_ms = 0;
    int64_t block_ms = 12000;
    int64_t blocks_per_window = 7;
    int64_t put_ms = 10000;
    int64_t record_ms = 5000;
    int64_t window_ms() const { return block_ms * blocks_per_window; }
    int64_t start_ms(int64_t window) const { return t0_ms + window * window_ms(); }

    // registry
    int64_t max_peers = 250;
    int64_t immunity_windows = 10;
    std::vector<ValidatorEntry> validators;  // by rank

    // optimiser and codec
    Codec codec;
    float beta = 0.999f;
    double weight_decay = 0.0;
    Schedule schedule;
    int64_t page_sequences = 64;

    // gather and gauntlet
    int64_t gather_peers = 15;
    int64_t gather_refresh_windows = 5;
    int64_t reserve_peers = 10;
    int64_t weights_every_windows = 50;
    int64_t payload_windows = 20;  // payloads of older windows are deleted by their owner
    int64_t eval_own_sequences = 8, eval_random_sequences = 8;
    GauntletParams gauntlet;
};

// run.json as canonical text (sorted keys, two-space indentation, one final newline).
std::string run_to_json(const RunDescription& run);
// Strict: every key must be there, no other may be, every number in range. Throws Error(input) naming the
// key, what was expected and what was found.
RunDescription run_from_json(std::string_view json);

// A run description as found in a bucket, with its run_id = SHA-256 of its bytes.
struct Run {
    RunDescription description;
    Digest id{};
};
// Writes run.json once. Throws Error(input) when a different one is there already.
Run create_run(Bucket& bucket, const RunDescription& description);
// Throws Error(input) when there is none or it is malformed. `expected_id`, when not all zeros, must equal
// its hash: a description edited after the run began is refused (Error(diverged)).
Run open_run(Bucket& bucket, const Digest& expected_id = {});

}  // namespace templar
