// Hugging Face's Llama directories: config.json, generation_config.json, model.safetensors or its sharded index.
#pragma once

#include "weights/saved_model.h"

#include "kernels/tensor.h"

#include <functional>
#include <map>
#include <span>
#include <string_view>

namespace templar {

// What config.json says of a model.
struct HuggingFaceConfig {
    LlamaConfig model;
    int64_t seq = 2048;  // max_position_embeddings
    int32_t begin_token = -1, end_token = -1;
    bool operator==(const HuggingFaceConfig&) const = default;
};

// Of LlamaForCausalLM, and of MistralForCausalLM where its sliding window is longer than any sequence, which makes it
// the same. Where several tokens end a text, the first. Throws Error(input) naming the field that is missing,
// malformed, or asks for what this engine does not compute (another architecture, biases, scaled rotary embedding,
// another activation).
HuggingFaceConfig config_from_json(std::string_view json, std::string_view what);
// dtype: of the weights beside it, f32 or bf16. Transformers 4 and 5 read it.
std::string config_to_json(const HuggingFaceConfig& config, DType dtype);
// Of folder/config.json; begin and end token from generation_config.json where only that has them.
HuggingFaceConfig load_config(const std::filesystem::path& folder);

// model.safetensors.index.json's weight_map: the file of each tensor. Throws Error(input) when it is malformed or a
// file's name is not a plain name in the same folder.
std::map<std::string, std::string> shard_index_from_json(std::string_view json, std::string_view what);

// The weights of a folder as the flat arena of llama_parameters(config), fp32, from F32, BF16 or F16 tensors. Names may
// lack the prefix `model.`, as a checkpoint without head does. Rotary buffers (inv_freq) are passed over, and so is a
// tied model's lm_head.weight if it equals the embedding. Throws Error(input) naming the file, and the tensor that is
// missing, unknown, or has another shape or dtype.
std::vector<float> load_huggingface_weights(const std::filesystem::path& folder, const LlamaConfig& config,
                                            const LoadProgress& progress = {});

struct ExportOptions {
    DType dtype = DType::bf16;            // or f32; rounded to nearest, ties to even
    int64_t shard_bytes = 5'000'000'000;  // more than this becomes several files and an index
    std::function<void(int64_t done_bytes, int64_t total_bytes)> progress{};  // what it throws ends the export
};

// Writes config.json, generation_config.json and the weights into `folder` (created): AutoModelForCausalLM loads it.
// Tensors are written one after the other: nothing is held twice in memory. The config comes last, so that a folder
// with one is whole. Throws Error(storage), e.g. when the disk is full.
void export_huggingface(const std::filesystem::path& folder, const HuggingFaceConfig& config,
                        std::span<const float> params, const ExportOptions& options);

}  // namespace templar
