#include "tokenizer/shards.h"

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/token_files.h"

namespace templar {

namespace {

constexpr int32_t shard_magic = 20240520;
constexpr int64_t header_bytes = 256 * 4;

int32_t shard_version(int64_t vocab_size) {
    return vocab_size > 65536 ? 7 : 1;
}

std::vector<int32_t> unpack(ByteSpan bytes, int64_t vocab_size, const std::string& name) {
    const int width = bytes_per_token(vocab_size);
    ByteReader body(bytes, name);
    std::vector<int32_t> ids(bytes.size() / static_cast<size_t>(width));
    for (int32_t& id : ids) {
        const uint32_t token = width == 2 ? body.get<uint16_t>() : body.get<uint32_t>();
        if (static_cast<int64_t>(token) >= vocab_size)
            fail(ExitCode::input, "{} has token {}, expected less than {}: was it made with another tokenizer?", name, token,
                 vocab_size);
        id = static_cast<int32_t>(token);
    }
    return ids;
}

}  // namespace

int64_t shard_bytes(int64_t tokens, int64_t vocab_size) {
    return header_bytes + tokens * bytes_per_token(vocab_size);
}

std::vector<int32_t> read_shard(const std::filesystem::path& path, int64_t vocab_size) {
    const MappedFile file(path);
    const auto size = static_cast<int64_t>(file.bytes().size());
    const std::string name = path.string();
    if (size < header_bytes) fail(ExitCode::input, "{} has {} bytes, too few for a token shard", name, size);
    ByteReader header(file.bytes(), name);
    const auto magic = header.get<int32_t>(), version = header.get<int32_t>(), count = header.get<int32_t>();
    if (magic != shard_magic)
        fail(ExitCode::input, "{} starts with {}, expected {}: not a token shard", name, magic, shard_magic);
    if (version != shard_version(vocab_size))
        fail(ExitCode::input,
             "{} has version {}, expected {} for a vocabulary of {}: was it made with another tokenizer?",
             name, version, shard_version(vocab_size), vocab_size);
    if (count < 0 || shard_bytes(count, vocab_size) != size)
        fail(ExitCode::input, "{} says it has {} tokens, but has {} bytes, expected {}", name, count, size,
             shard_bytes(count, vocab_size));
    return unpack(file.bytes().subspan(static_cast<size_t>(header_bytes)), vocab_size, name);
}

std::vector<int32_t> read_raw_tokens(const std::filesystem::path& path, int64_t vocab_size) {
    const MappedFile file(path);
    const int width = bytes_per_token(vocab_size);
    if (file.bytes().size() % static_cast<size_t>(width) != 0)
        fail(ExitCode::input, "{} has {} bytes, expected {} for each token", path.string(), file.bytes().size(), width);
    if (path.extension() != fmt::format(".u{}", 8 * width))
        fail(ExitCode::input, "{} should end in .u{} for a vocabulary of {}: was it made with another tokenizer?",
             path.string(), 8 * width, vocab_size);
    return unpack(file.bytes(), vocab_size, path.string());
}

}  // namespace templar
