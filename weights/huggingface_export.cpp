// Writing a Hugging Face directory, tensor after tensor from where the weights lie.
#include "weights/huggingface.h"

#include "base/error.h"
#include "base/file.h"
#include "weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <stdexcept>

namespace templar {

namespace {

namespace fs = std::filesystem;

using Shard = std::vector<NamedTensor>;

// In layout order, a new file where the next tensor would not fit; a tensor is never divided.
std::vector<Shard> divided(const LlamaConfig& config, std::span<const float> params, const ExportOptions& options) {
    std::vector<Shard> shards(1);
    int64_t bytes = 0;
    for (const Parameter& parameter : llama_parameters(config)) {
        const int64_t more = parameter.numel * bytes_of(options.dtype);
        if (bytes > 0 && bytes + more > options.shard_bytes) {
            shards.emplace_back();
            bytes = 0;
        }
        bytes += more;
        shards.back().push_back(
            {parameter.name, parameter.shape,
             params.subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.numel))});
    }
    return shards;
}

std::string shard_name(size_t shard, size_t count) {
    return count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, count);
}

std::string index_json(const std::vector<Shard>& shards, int64_t total_bytes) {
    nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}}};
    for (size_t i = 0; i < shards.size(); ++i)
        for (const NamedTensor& tensor : shards[i]) index["weight_map"][tensor.name] = shard_name(i, shards.size());
    return index.dump(2) + "\n";
}

std::string generation_json(const HuggingFaceConfig& config) {
    nlohmann::ordered_json generation = {{"_from_model_config", true}};
    if (config.begin_token >= 0) generation["bos_token_id"] = config.begin_token;
    if (config.end_token >= 0) generation["eos_token_id"] = config.end_token;
    return generation.dump(2) + "\n";
}

}  // namespace

void export_huggingface(const fs::path& folder, const HuggingFaceConfig& config, std::span<const float> params,
                        const ExportOptions& options) {
    if (std::ssize(params) != parameter_count(config.model))
        throw std::invalid_argument("export_huggingface: weights and config are of different models");
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());

    const int64_t total_bytes = std::ssize(params) * bytes_of(options.dtype);
    const std::vector<Shard> shards = divided(config.model, params, options);
    int64_t done_before = 0;
    for (size_t i = 0; i < shards.size(); ++i) {
        int64_t done = 0;
        write_safetensors(folder / shard_name(i, shards.size()), shards[i], {{"format", "pt"}},
                          {.dtype = options.dtype, .progress = [&](int64_t bytes) {
                               done = bytes;
                               if (options.progress) options.progress(done_before + done, total_bytes);
                           }});
        done_before += done;
    }
    if (shards.size() > 1)
        write_file(folder / "model.safetensors.index.json", as_bytes(index_json(shards, total_bytes)));
    write_file(folder / "generation_config.json", as_bytes(generation_json(config)));
    write_file(folder / "config.json", as_bytes(config_to_json(config, options.dtype)));
}

}  // namespace templar
