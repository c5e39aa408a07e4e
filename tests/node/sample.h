// Small swarms for tests: a temporary folder, a text with something to learn, a run that is over in seconds.
#pragma once

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/temporary_folder.h"
#include "node/local_swarm.h"
#include "weights/presets.h"

#include <cmath>

namespace templar::sample {

using templar::TemporaryFolder;

// `bytes` of sentences in a made-up grammar: each word tells something about the next one. Names are made of
// syllables, so that a tokenizer of several hundred tokens finds enough to merge.
inline std::string text(size_t bytes) {
    static constexpr const char* subjects[] = {"the miner",  "a validator", "the bucket",
                                               "one window", "the record",  "a stranger"};
    static constexpr const char* verbs[] = {"keeps", "writes", "signs", "checks", "forgets", "commits to"};
    static constexpr const char* objects[] = {"every payload",  "the state",   "its own key",
                                              "a page of text", "the weights", "no secret"};
    CounterRng rng(sha256(as_bytes("sample text")));
    std::string result;
    static constexpr const char* syllables[] = {"ba", "ke", "li",  "mo",  "nu",  "ra",  "se", "ti",
                                                "vo", "zu", "dan", "fer", "gil", "hom", "jun"};
    while (result.size() < bytes) {
        const uint64_t subject = rng.below(6);
        if (rng.below(3) == 0) {
            for (uint64_t i = 0; i < 2 + rng.below(2); ++i) result += syllables[rng.below(15)];
            result += " of ";
        }
        result += subjects[subject];
        result += ' ';
        result += verbs[(subject + rng.below(2)) % 6];
        result += ' ';
        result += objects[(subject + rng.below(3)) % 6];
        result += rng.below(5) == 0 ? ".\n" : ", and ";
    }
    return result;
}

inline RunDescription run_description() {
    RunDescription run;
    run.name = "test";
    run.model = {.vocab_size = 300,
                 .hidden_size = 32,
                 .intermediate_size = 64,
                 .layers = 2,
                 .heads = 2,
                 .kv_heads = 1,
                 .head_dim = 16,
                 .rms_norm_eps = 1e-6f,
                 .rope_theta = 10000.0f,
                 .tie_word_embeddings = true};
    run.seq = 32;
    run.t0_ms = 1'000'000'010'000;  // the virtual clock starts ten seconds earlier
    run.block_ms = 1000;
    run.blocks_per_window = 10;
    run.put_ms = 1000;
    run.record_ms = 500;
    run.max_peers = 16;
    run.immunity_windows = 4;
    run.codec = {.k = 16, .chunk_edge = 32, .code_bits = 8};
    run.beta = 0.95f;
    run.schedule = {.peak = 3e-3, .floor_share = 0.2, .warmup_steps = 2, .cosine_steps = 30};
    run.page_sequences = 4;
    run.gather_peers = 8;
    run.gather_refresh_windows = 2;
    run.weights_every_windows = 2;
    run.payload_windows = 50;
    run.eval_own_sequences = 8;
    run.eval_random_sequences = 8;
    return run;
}

inline constexpr int64_t clock_start_ms = 1'000'000'000'000;

inline LocalSwarm swarm(const std::filesystem::path& folder, Clock& clock, int miners, int copycats = 0,
                        int noise = 0, int validators = 1, uint64_t seed = 42) {
    write_file(folder / "text.txt", as_bytes(text(200'000)));
    LocalSwarmOptions options;
    options.folder = folder / "swarm";
    options.texts = {folder / "text.txt"};
    options.validators = validators;
    options.miners = miners;
    options.copycats = copycats;
    options.noise = noise;
    options.run = run_description();
    options.seeded_keys = true;
    options.seed = seed;
    return create_local_swarm(options, clock);
}

}  // namespace templar::sample
