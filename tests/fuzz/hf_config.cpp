// Hugging Face's JSON files: c<config.json>, i<model.safetensors.index.json>.
#include "tests/fuzz/target.h"
#include "weights/huggingface.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

void judge_config(std::string_view text) {
    const auto config = accepted([&] { return config_from_json(text, "config.json"); });
    if (!config) return;
    check_config(config->model);  // whatever is accepted can be a model
    require(config->seq > 0, "a model has a longest sequence");
    require(config->begin_token < config->model.vocab_size && config->end_token < config->model.vocab_size,
            "tokens are within the vocabulary");
    require(config_from_json(config_to_json(*config, DType::f32), "again") == *config,
            "a config written is read as the same");
}

void judge_index(std::string_view text) {
    const auto index = accepted([&] { return shard_index_from_json(text, "index"); });
    if (!index) return;
    for (const auto& [tensor, file] : *index) {
        const std::filesystem::path path(file);
        require(path.filename() == path && path != ".." && path.extension() == ".safetensors" &&
                    file.find('\0') == file.npos,
                "a shard is a file beside the index");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    if (input.number() == 'c')
        judge_config(input.rest_text());
    else
        judge_index(input.rest_text());
    return 0;
}
