// Starting a run: text → tokenizer and shards → genesis → run.json, in an empty bucket.
#pragma once

#include "net/swarm/run.h"

#include <filesystem>
#include <functional>

namespace templar {

struct CreateOptions {
    std::string bucket_url;
    BucketOptions bucket{};  // keys and rules of an s3:// bucket
    std::vector<std::filesystem::path> texts;
    RunDescription
        description;  // model.vocab_size: tokenizer size; hashes, roots and end_token are filled in
    int64_t start_delay_ms = 3000;  // t0 = the moment run.json is written + this, when description.t0_ms is 0
    uint64_t genesis_seed = 42;
    double heldout_share = 0.05;
    std::function<void(const std::string&)> say;  // one line per step
};

struct CreatedRun {
    Run run;
    double unigram_loss =
        0;  // nats per token of the held-out text under the training text's token frequencies
    int64_t train_tokens = 0, heldout_tokens = 0;
};

// Throws Error(input) on a text that is missing, empty, binary or too short for one page; Error(input) when
// the bucket holds a run.
CreatedRun create_run_from_text(const CreateOptions& options, Clock& clock);

// Cross-entropy of `heldout` under add-one smoothed unigram frequencies of `train`, nats per token.
double unigram_loss(const Corpus& train, const Corpus& heldout, int64_t vocab_size);

}  // namespace templar
