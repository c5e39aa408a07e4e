// Which tokenizer lies at a path.
#include "base/file.h"
#include "tokenizer/bpe.h"
#include "tokenizer/tokenizer.h"

namespace templar {

namespace {

constexpr int64_t largest_file = 256 << 20;

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json, std::string_view what) {
    return std::make_unique<ByteLevelBpe>(ByteLevelBpe::from_json(json, what));
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path) {
    return tokenizer_from_json(read_text_file(path, largest_file), path.string());
}

void Tokenizer::save(const std::filesystem::path& path) const {
    write_file(path, as_bytes(to_json()));
}

}  // namespace templar
