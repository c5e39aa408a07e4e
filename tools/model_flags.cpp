#include "tools/model_flags.h"

#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <optional>

namespace templar {

namespace {

void stop_if_requested() {
    if (stop_requested()) fail(ExitCode::interrupted, "stopped; nothing was written");
}

}  // namespace

void ModelFolderFlags::add_to(CLI::App& app) {
    app.add_option("--dtype", dtype, "of the weights in the files: f32, or bf16 (half the size, rounded)")
        ->check(CLI::IsMember({"f32", "bf16"}));
    app.add_option("--tokenizer", tokenizer, "file or folder of a tokenizer (default: the one beside the model)");
    app.add_option("--shard-bytes", shard_bytes, "larger models become several files and an index")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
}

SavedModel read_model(const std::filesystem::path& path) {
    std::optional<Progress> shown;
    return load_model(path, [&](int64_t done, int64_t total) {
        stop_if_requested();
        if (!shown) shown.emplace("reading", "B", static_cast<double>(total));
        shown->update(static_cast<double>(done));
    });
}

void ModelFolderFlags::write(const SavedModel& model, const std::filesystem::path& folder) const {
    const DType type = dtype == "bf16" ? DType::bf16 : DType::f32;
    const int64_t bytes = std::ssize(model.params) * bytes_of(type);
    std::optional<Progress> shown(std::in_place, "writing", "B", static_cast<double>(bytes));
    const auto progress = [&](int64_t done, int64_t) {
        stop_if_requested();
        shown->update(static_cast<double>(done));
    };
    write_model_folder(
        model, folder,
        {.weights = {.dtype = type, .shard_bytes = shard_bytes, .progress = progress}, .tokenizer = tokenizer});
    shown.reset();  // its last line comes first
    const bool with_tokenizer = !tokenizer.empty() || !model.tokenizer.empty();
    std::fprintf(stderr, "%s: %s of %s%s\n", folder.c_str(), (short_count(static_cast<double>(bytes)) + "B").c_str(),
                 name_of(type), with_tokenizer ? ", with tokenizer" : "; no tokenizer: name one with --tokenizer");
}

std::string summary(const SavedModel& model) {
    const LlamaConfig& c = model.config;
    return fmt::format(
        "{}\n{} parameters in {} tensors: {} layers of {}, feed-forward {}, {} heads of {} ({} of keys and values), "
        "vocabulary "
        "{}{}, {} tokens",
        model.origin, model.params.size(), llama_parameters(c).size(), c.layers, c.hidden_size, c.intermediate_size,
        c.heads, c.head_dim, c.kv_heads, c.vocab_size, c.tie_word_embeddings ? " (tied)" : "", model.seq);
}

}  // namespace templar
