// Which tokenizer lies at a path.
#include "base/error.h"
#include "base/file.h"
#include "base/strict_json.h"
#include "tokenizer/bpe.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/tokenizer.h"

namespace templar {

namespace {

namespace fs = std::filesystem;

constexpr int64_t largest_file = 256 << 20;

bool is_json(std::string_view text) {
    const size_t first = text.find_first_not_of(" \t\r\n");
    return first != text.npos && text[first] == '{';
}

// llama2.c's file begins with a small i32; a sentencepiece model with the tag and length of a piece, and the tag of its
// text.
bool is_llama2c(ByteSpan file) {
    return file.size() >= 4 && file[2] == 0 && file[3] == 0;
}

std::unique_ptr<Tokenizer> from_json(std::string_view json, std::string_view what, const SpecialNames& names) {
    const nlohmann::json document = parse_json(json, what);
    const Field file(document, what);
    // Byte-level BPE has a pre_tokenizer; sentencepiece's has none or the one Split, but a normalizer.
    if (file.has("pre_tokenizer") && !is_of_type(file.member("pre_tokenizer"), "Split"))
        return std::make_unique<ByteLevelBpe>(ByteLevelBpe::from_json(file, what, names));
    return std::make_unique<SentencePieceBpe>(SentencePieceBpe::from_json(file, what, names));
}

std::unique_ptr<Tokenizer> load_file(const fs::path& path, const SpecialNames& names = {}) {
    const Bytes file = read_file(path, largest_file);
    const std::string what = path.string();
    if (is_json(as_text(file))) return from_json(as_text(file), what, names);
    return std::make_unique<SentencePieceBpe>(is_llama2c(file) ? SentencePieceBpe::from_llama2c(file, what)
                                                               : SentencePieceBpe::from_model(file, what));
}

// A token's name, or an object with its content; null: there is none.
std::optional<std::string> read_name(const Field& config, const std::string& key) {
    if (!config.value().contains(key)) return std::nullopt;
    const Field name = config.member(key);
    if (name.value().is_null()) return "";
    return std::string(name.value().is_object() ? name.member("content").string() : name.string());
}

SpecialNames read_special_names(const fs::path& path) {
    if (!fs::exists(path)) return {};
    const std::string what = path.string();
    const nlohmann::json document = parse_json(read_text_file(path, largest_file), what);
    const Field config(document, what);
    config.object_size();
    return {read_name(config, "bos_token"), read_name(config, "eos_token")};
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json, std::string_view what) {
    return from_json(json, what, {});
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
    if (!fs::is_directory(path)) return load_file(path);
    if (fs::exists(path / "tokenizer.json"))
        return load_file(path / "tokenizer.json", read_special_names(path / "tokenizer_config.json"));
    for (const char* name : {"tokenizer.model", "tokenizer.bin"})
        if (fs::exists(path / name)) return load_file(path / name);
    if (fs::exists(path / "vocab.json") && fs::exists(path / "merges.txt"))
        return std::make_unique<ByteLevelBpe>(ByteLevelBpe::from_gpt2(
            read_text_file(path / "vocab.json", largest_file), read_text_file(path / "merges.txt", largest_file)));
    fail(ExitCode::input,
         "{} has no tokenizer, expected tokenizer.json, tokenizer.model, tokenizer.bin, or vocab.json with merges.txt",
         path.string());
}

void Tokenizer::save(const fs::path& path) const {
    write_file(path, as_bytes(to_json()));
}

}  // namespace templar
