#include "weights/saved_model.h"

#include "base/error.h"
#include "base/file.h"
#include "weights/checkpoint.h"
#include "weights/huggingface.h"
#include "weights/llama2c.h"

#include <algorithm>
#include <bit>
#include <span>

namespace templar {

namespace {

namespace fs = std::filesystem;

SavedModel described(const HuggingFaceConfig& config, std::string origin) {
    SavedModel model;
    model.config = config.model;
    model.seq = config.seq;
    model.begin_token = config.begin_token;
    model.end_token = config.end_token;
    model.origin = std::move(origin);
    return model;
}

// The file or folder that load_tokenizer takes; empty when there is none.
fs::path tokenizer_in(const fs::path& folder) {
    const bool there = fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.model") ||
                       (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt"));
    return there ? folder : fs::path();
}

SavedModel load_folder(const fs::path& folder, const LoadProgress& progress) {
    const HuggingFaceConfig config = load_config(folder);
    // A folder that train began from a Hugging Face directory may hold both: the checkpoint is the newer one.
    const bool trained = fs::exists(folder / checkpoint_file);
    SavedModel model =
        described(config, fmt::format("{} {}", trained ? "checkpoint in" : "Hugging Face directory", folder.string()));
    if (trained) {
        std::optional<Checkpoint> checkpoint = load_checkpoint_model(folder, parameter_count(config.model));
        if (!checkpoint) fail(ExitCode::input, "{} went away while it was read", (folder / checkpoint_file).string());
        model.params = std::move(checkpoint->theta);
    } else {
        model.params = load_huggingface_weights(folder, config.model, progress);
    }
    model.tokenizer = tokenizer_in(folder);
    return model;
}

SavedModel load_llama2c(const fs::path& path) {
    const MappedFile file(path);
    const HuggingFaceConfig config = llama2c_config(file.bytes(), path.string());
    SavedModel model = described(config, fmt::format("llama2.c checkpoint {}", path.string()));
    model.params = llama2c_weights(file.bytes(), config.model);
    // As llama2.c names them: tok512.bin has 512 pieces, tokenizer.bin is Llama 2's.
    for (const std::string& name : {fmt::format("tok{}.bin", config.model.vocab_size), std::string("tokenizer.bin")})
        if (model.tokenizer.empty() && fs::exists(path.parent_path() / name))
            model.tokenizer = path.parent_path() / name;
    return model;
}

}  // namespace

SavedModel load_model(const fs::path& path, const LoadProgress& progress) {
    if (fs::exists(path / "config.json")) return load_folder(path, progress);
    if (fs::is_regular_file(path) && path.extension() == ".bin") return load_llama2c(path);
    if (!fs::exists(path)) fail(ExitCode::input, "{} does not exist", path.string());
    fail(ExitCode::input, "{}: expected a folder with config.json, or a llama2.c checkpoint (.bin)", path.string());
}

bool goes_with(int64_t embedding_rows, int64_t tokenizer_vocab_size) {
    const int64_t spare = embedding_rows - tokenizer_vocab_size;
    return spare >= 0 && spare <= std::min<int64_t>(1024, embedding_rows / 8);
}

void check_vocabulary(const SavedModel& model, int64_t tokenizer_vocab_size) {
    if (goes_with(model.config.vocab_size, tokenizer_vocab_size)) return;
    fail(ExitCode::input,
         "the tokenizer has {} tokens, but the model's vocabulary {} ({}): they do not belong together; name the "
         "model's own with --tokenizer",
         tokenizer_vocab_size, model.config.vocab_size, model.origin);
}

void check_finite(const SavedModel& model) {
    constexpr uint32_t exponent = 0x7f800000u;
    for (const Parameter& parameter : llama_parameters(model.config)) {
        const auto values = std::span(model.params)
                                .subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.numel));
        int64_t bad = 0;
        for (float value : values) bad += (std::bit_cast<uint32_t>(value) & exponent) == exponent;
        if (bad > 0)
            fail(ExitCode::input, "{}: tensor {}: {} of {} values are infinite or no numbers", model.origin,
                 parameter.name, bad, parameter.numel);
    }
}

}  // namespace templar
