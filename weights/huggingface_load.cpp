// The weights of a Hugging Face directory: every header is read and every tensor found before memory is taken for them.
#include "weights/huggingface.h"

#include "base/error.h"
#include "base/file.h"
#include "base/strict_json.h"
#include "weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <set>

namespace templar {

namespace {

namespace fs = std::filesystem;

constexpr const char* single_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";
constexpr int64_t max_index_bytes = 16 << 20;

struct OpenFile {
    std::string what;
    MappedFile map;
    SafetensorsView view;
};

OpenFile open_file(const fs::path& path) {
    OpenFile file{path.string(), MappedFile(path), {}};
    file.view = read_safetensors(file.map.bytes(), file.what);
    return file;
}

// A tensor and the name of the file it lies in.
struct Found {
    const StoredTensor* tensor;
    const OpenFile* file;
};

class Weights {
  public:
    explicit Weights(const fs::path& folder) : folder_(folder) {
        if (fs::exists(folder / single_file))
            add(folder / single_file);
        else if (fs::exists(folder / index_file))
            add_shards(folder / index_file);
        else
            fail(ExitCode::input, "{}: expected {} or {}{}", folder.string(), single_file, index_file,
                 fs::exists(folder / "pytorch_model.bin") || fs::exists(folder / "pytorch_model.bin.index.json")
                     ? ": pytorch_model.bin is not read here; save it with Transformers' save_pretrained"
                     : "");
    }

    const std::string& where() const { return where_; }
    size_t size() const { return by_name_.size(); }
    const std::map<std::string, Found>& all() const { return by_name_; }
    const Found* find(const std::string& name) const {
        const auto found = by_name_.find(name);
        return found == by_name_.end() ? nullptr : &found->second;
    }

  private:
    void add(const fs::path& path) {
        where_ = path.string();
        files_.push_back(std::make_unique<OpenFile>(open_file(path)));
        for (const StoredTensor& tensor : files_.back()->view.tensors)
            by_name_.emplace(tensor.name, Found{&tensor, files_.back().get()});
    }

    // Each tensor must be where the index says, and nowhere else.
    void add_shards(const fs::path& index) {
        const auto shard_of = shard_index_from_json(read_text_file(index, max_index_bytes), index.string());
        std::set<std::string> shards;
        for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
        for (const std::string& shard : shards) {
            add(folder_ / shard);
            for (const StoredTensor& tensor : files_.back()->view.tensors) {
                const auto listed = shard_of.find(tensor.name);
                if (listed == shard_of.end())
                    fail(ExitCode::input, "{}: tensor {} is not in {}", where_, tensor.name, index.string());
                if (listed->second != shard)
                    fail(ExitCode::input, "{}: tensor {} should be in {}, says {}", where_, tensor.name, listed->second,
                         index.string());
            }
        }
        for (const auto& [tensor, shard] : shard_of)
            if (!find(tensor))
                fail(ExitCode::input, "{}: tensor {} is missing, says {}", (folder_ / shard).string(), tensor,
                     index.string());
        where_ = folder_.string();
    }

    fs::path folder_;
    std::string where_;  // what a missing tensor is missing from
    std::vector<std::unique_ptr<OpenFile>> files_;
    std::map<std::string, Found> by_name_;
};

std::string shape_text(const std::vector<int64_t>& shape) {
    std::string text;
    for (int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
    return "[" + text + "]";
}

void check_tensor(const Found& found, const Parameter& parameter) {
    const StoredTensor& tensor = *found.tensor;
    if (tensor.shape != parameter.shape)
        fail(ExitCode::input, "{}: tensor {}: expected the shape {} that config.json asks for, found {}",
             found.file->what, tensor.name, shape_text(parameter.shape), shape_text(tensor.shape));
    if (tensor.dtype != "F32" && tensor.dtype != "BF16" && tensor.dtype != "F16")
        fail(ExitCode::input, "{}: tensor {}: dtype: expected F32, BF16 or F16, found {}", found.file->what,
             tensor.name, tensor.dtype);
}

// The file's tensor of each parameter, all checked; no other tensor may be there that would change the model.
std::vector<Found> find_all(const Weights& weights, const LlamaConfig& config) {
    // Before a list is made of as many layers as a wrong config.json may claim.
    if (static_cast<size_t>(config.layers) > weights.size())
        fail(ExitCode::input, "{}: {} tensors, too few for the {} layers of config.json", weights.where(),
             weights.size(), config.layers);
    const std::string prefix = "model.";
    const bool bare = weights.find("embed_tokens.weight");
    auto stored_name = [&](const std::string& name) {
        return bare && name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    };
    std::vector<Found> all;
    std::set<std::string> used;
    for (const Parameter& parameter : llama_parameters(config)) {
        const std::string name = stored_name(parameter.name);
        const Found* found = weights.find(name);
        if (!found)
            fail(ExitCode::input, "{}: tensor {} is missing{}", weights.where(), name,
                 name == "lm_head.weight" ? "; without it config.json must say \"tie_word_embeddings\": true" : "");
        check_tensor(*found, parameter);
        all.push_back(*found);
        used.insert(name);
    }
    for (const auto& [name, found] : weights.all()) {
        if (used.contains(name) || name.ends_with("rotary_emb.inv_freq")) continue;
        if (name != "lm_head.weight")
            fail(ExitCode::input, "{}: tensor {} is of no use in the model of config.json", found.file->what, name);
        const StoredTensor &head = *found.tensor, &embedding = *all.front().tensor;
        if (head.dtype != embedding.dtype || !std::ranges::equal(head.bytes, embedding.bytes))
            fail(ExitCode::input,
                 "{}: tensor {} differs from the embedding, but config.json says \"tie_word_embeddings\": true",
                 found.file->what, name);
    }
    return all;
}

}  // namespace

std::map<std::string, std::string> shard_index_from_json(std::string_view text, std::string_view what) {
    const nlohmann::json index = parse_json(text, what);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
        fail(ExitCode::input, "{}: expected an object with weight_map", what);
    std::map<std::string, std::string> shard_of;
    for (const auto& [tensor, shard] : index["weight_map"].items()) {
        if (!shard.is_string()) fail(ExitCode::input, "{}: weight_map: {}: expected a file's name", what, tensor);
        const auto name = shard.get<std::string>();
        // Nothing outside the folder, and no other kind of file.
        if (name.find('/') != std::string::npos || name.starts_with('.') || !name.ends_with(".safetensors") ||
            name.find('\0') != std::string::npos)
            fail(ExitCode::input, "{}: weight_map: {}: expected the name of a .safetensors file beside it, found {}",
                 what, tensor, nlohmann::json(name).dump(-1, ' ', true).substr(0, 100));
        shard_of[tensor] = name;
    }
    return shard_of;
}

std::vector<float> load_huggingface_weights(const fs::path& folder, const LlamaConfig& config,
                                            const LoadProgress& progress) {
    const Weights weights(folder);
    const std::vector<Found> found = find_all(weights, config);
    int64_t done = 0, total = 0;
    for (const Found& one : found) total += std::ssize(one.tensor->bytes);
    std::vector<float> params = arena_of_floats(parameter_count(config));
    std::span<float> rest(params);
    for (const Found& one : found) {
        const auto count = static_cast<size_t>(one.tensor->count());
        read_values(*one.tensor, rest.first(count), one.file->what);
        rest = rest.subspan(count);
        done += std::ssize(one.tensor->bytes);
        if (progress) progress(done, total);
    }
    return params;
}

}  // namespace templar
