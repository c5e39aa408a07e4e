// Which tokenizer lies at a path.
#include "base/error.h"
#include "base/file.h"
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

std::unique_ptr<Tokenizer> load_file(const fs::path& path) {
    const Bytes file = read_file(path, largest_file);
    const std::string what = path.string();
    if (is_json(as_text(file))) return tokenizer_from_json(as_text(file), what);
    return std::make_unique<SentencePieceBpe>(is_llama2c(file) ? SentencePieceBpe::from_llama2c(file, what)
                                                               : SentencePieceBpe::from_model(file, what));
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json, std::string_view what) {
    return std::make_unique<ByteLevelBpe>(ByteLevelBpe::from_json(json, what));
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
    if (!fs::is_directory(path)) return load_file(path);
    for (const char* name : {"tokenizer.json", "tokenizer.model", "tokenizer.bin"})
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
