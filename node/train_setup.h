// From what a user says to what a Trainer takes: files are opened, checked against each other, defaults filled in.
#pragma once

#include "engine/data/corpus.h"
#include "node/train_options.h"

#include <optional>

namespace templar {

struct TrainRequest {
    TrainOptions options;  // seq 0: the model's; what prepare_training fills in is overwritten

    // One of data (a folder of token shards) and tokens (a file of nothing but ids).
    std::filesystem::path data, tokens, heldout_tokens;
    int token_bytes = 2;
    std::optional<int64_t> stride, row_stride;  // of raw tokens; see --help

    // At most one of preset, config (Hugging Face's config.json) and model (anything that load_model takes).
    std::string preset;
    std::filesystem::path config, model;
    std::filesystem::path tokenizer;  // to copy; by default that of the model, or of the data

    Decline schedule = Decline::cosine;
    double learning_rate = 1e-3, floor = 0.1;
    std::optional<double> warmup_start, weight_decay;
    std::optional<int64_t> warmup_steps, decay_steps;
};

struct TrainInputs {
    TrainOptions options;
    std::vector<float> initial;  // empty: genesis weights
    Corpus train;
    std::optional<Corpus> heldout;
};

// The schedule of a run of options.steps steps. Throws Error(usage) when warm-up and decline do not fit into each
// other.
TrainSchedule train_schedule(const TrainRequest& request);

// Throws Error(usage) for options that contradict each other, Error(input) for files that are not what they should be,
// and when the data's vocabulary is not the model's.
TrainInputs prepare_training(const TrainRequest& request);

}  // namespace templar
