// A model as programs load it, whatever files it lies in.
#pragma once

#include "engine/model/config.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace templar {

struct SavedModel {
    LlamaConfig config;
    int64_t seq = 0;                           // the longest sequence that it was trained for (max_position_embeddings)
    std::vector<float> params;                 // fp32, the flat arena of llama_parameters(config)
    std::filesystem::path tokenizer;           // for load_tokenizer; empty: none lies beside the weights
    int32_t begin_token = -1, end_token = -1;  // as the files say; -1: they do not
    std::string origin;                        // for people: what kind of files, where
};

// Called while weights are read, with bytes of the files; what it throws ends the reading.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// From a Hugging Face directory (config.json with model.safetensors or its sharded index), a folder that train, miner
// or validator keeps (config.json with checkpoint.safetensors), or a llama2.c checkpoint (a .bin file). Only the first
// has progress. Throws Error(input) naming the file and what in it is missing or not as expected.
SavedModel load_model(const std::filesystem::path& path, const LoadProgress& progress = {});

// Whether a tokenizer of so many ids goes with an embedding of so many rows: each id must have its row, and no more
// rows may be left over than are added to make a size round.
bool goes_with(int64_t embedding_rows, int64_t tokenizer_vocab_size);

// Throws Error(input), naming both, unless a tokenizer of so many ids goes with the model.
void check_vocabulary(const SavedModel& model, int64_t tokenizer_vocab_size);

// Throws Error(input) naming the first tensor with values that are no numbers, and how many they are.
void check_finite(const SavedModel& model);

}  // namespace templar
