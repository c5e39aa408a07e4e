#include "engine/data/corpus.h"

#include "base/error.h"
#include "engine/model/llama.h"

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t header_bytes = 256 * 4;
constexpr int32_t shard_magic = 20240520;

struct ShardHeader {
    int64_t count;
    int bytes_per_token;
};

ShardHeader read_header(const std::filesystem::path& path, ByteSpan bytes) {
    const auto size = std::ssize(bytes);
    if (size < header_bytes)
        fail(ExitCode::input, "{}: expected a header of {} bytes, found a file of {}", path.string(),
             header_bytes, size);
    ByteReader header(bytes, path.string());
    const auto magic = header.get<int32_t>();
    const auto version = header.get<int32_t>();
    const auto count = header.get<int32_t>();
    if (magic != shard_magic)
        fail(ExitCode::input, "{}: expected a token shard (magic {}), found {}", path.string(), shard_magic,
             magic);
    if (version != 1 && version != 7)
        fail(ExitCode::input, "{}: expected version 1 (uint16 tokens) or 7 (uint32 tokens), found {}",
             path.string(), version);
    if (count < 1)
        fail(ExitCode::input, "{}: expected at least 1 token, found a count of {}", path.string(), count);
    const int bytes_per_token = version == 1 ? 2 : 4;
    const int64_t expected = header_bytes + int64_t{count} * bytes_per_token;
    if (size != expected)
        fail(ExitCode::input, "{}: expected {} bytes for {} tokens, found {}", path.string(), expected, count,
             size);
    return {count, bytes_per_token};
}

uint32_t read_token(const uint8_t* bytes, int size) {
    uint32_t token = bytes[0] | static_cast<uint32_t>(bytes[1]) << 8;
    if (size == 4) token |= static_cast<uint32_t>(bytes[2]) << 16 | static_cast<uint32_t>(bytes[3]) << 24;
    return token;
}

}  // namespace

Corpus::Corpus(const std::vector<std::filesystem::path>& shards) {
    if (shards.empty()) fail(ExitCode::input, "corpus: expected at least one shard, found none");
    for (const std::filesystem::path& path : shards) {
        MappedFile file(path);
        const auto [count, bytes_per_token] = read_header(path, file.bytes());
        shards_.push_back({std::move(file), header_bytes, tokens_, count, bytes_per_token});
        tokens_ += count;
    }
}

Corpus Corpus::raw(const std::filesystem::path& file, int bytes_per_token) {
    return Corpus(file, bytes_per_token);
}

Corpus::Corpus(const std::filesystem::path& path, int bytes_per_token) {
    if (bytes_per_token != 2 && bytes_per_token != 4)
        fail(ExitCode::usage, "{}: tokens of {} bytes, expected 2 or 4", path.string(), bytes_per_token);
    MappedFile file(path);
    const auto size = std::ssize(file.bytes());
    if (size == 0 || size % bytes_per_token != 0)
        fail(ExitCode::input, "{}: expected tokens of {} bytes and nothing else, found a file of {} bytes", path.string(),
             bytes_per_token, size);
    tokens_ = size / bytes_per_token;
    shards_.push_back({std::move(file), 0, 0, tokens_, bytes_per_token});
}

void Corpus::check_vocabulary(int64_t vocab_size, std::string_view what) const {
    std::vector<int32_t> part(1 << 16);
    for (int64_t first = 0; first < tokens_; first += std::ssize(part)) {
        const auto count = static_cast<size_t>(std::min<int64_t>(std::ssize(part), tokens_ - first));
        read(first, std::span(part).first(count));
        for (size_t i = 0; i < count; ++i)
            if (part[i] >= vocab_size)
                fail(ExitCode::input, "{}: token {} is id {}, expected ids below the model's vocabulary of {}: other data, "
                     "another model, or another --token-bytes", what, first + static_cast<int64_t>(i), part[i], vocab_size);
    }
}

void Corpus::read(int64_t first, std::span<int32_t> out) const {
    if (first < 0 || first > tokens_ - std::ssize(out))
        fail(ExitCode::input, "corpus: expected a range inside its {} tokens, found {} tokens from {}",
             tokens_, out.size(), first);
    if (out.empty()) return;
    // The last shard that starts at or before `first`.
    auto shard = std::upper_bound(shards_.begin(), shards_.end(), first,
                                  [](int64_t token, const Shard& s) { return token < s.first; });
    for (--shard; !out.empty(); ++shard) {
        const int64_t skip = first - shard->first;
        const int64_t count = std::min<int64_t>(std::ssize(out), shard->count - skip);
        const int size = shard->bytes_per_token;
        const uint8_t* bytes = shard->file.bytes().data() + shard->header_bytes + skip * size;
        for (int64_t i = 0; i < count; ++i) {
            const uint32_t token = read_token(bytes + i * size, size);
            // As int32 it would be negative, which among labels means "ignore".
            if (token > INT32_MAX)
                fail(ExitCode::input, "corpus: expected a token below 2^31, found {} at position {}", token,
                     first + i);
            out[i] = static_cast<int32_t>(token);
        }
        first += count;
        out = out.subspan(count);
    }
}

int64_t page_count(const Corpus& corpus, const PageShape& shape) {
    int64_t page_tokens = 0;
    if (shape.page_sequences < 1 || shape.seq < 1 ||
        __builtin_mul_overflow(shape.page_sequences, shape.seq, &page_tokens))
        fail(ExitCode::input, "page: impossible shape of {} sequences of {} tokens", shape.page_sequences,
             shape.seq);
    const int64_t pages = (corpus.tokens() - 1) / page_tokens;  // the last target needs one token more
    if (pages < 1)
        fail(ExitCode::input, "corpus: expected at least one page of {} × {} + 1 tokens, found {} tokens",
             shape.page_sequences, shape.seq, corpus.tokens());
    return pages;
}

PageAssignment::PageAssignment(const Digest& run_id, const Digest& root, const Digest& hotkey,
                               uint64_t window, int64_t pages)
    : rng_(Sha256().update("assign").update(run_id).update(root).update(hotkey).update_le(window).finish()),
      pages_(pages) {
    if (pages < 1) fail(ExitCode::input, "page assignment: expected at least one page, found {}", pages);
}

int64_t sequence_start(const Corpus& corpus, const PageShape& shape, int64_t page, int64_t s) {
    const int64_t pages = page_count(corpus, shape);
    if (page < 0 || page >= pages || s < 0 || s >= shape.page_sequences)
        fail(ExitCode::input, "corpus: expected a page below {} and a sequence below {}, found {} and {}",
             pages, shape.page_sequences, page, s);
    return (page * shape.page_sequences + s) * shape.seq;
}

void read_window(const Corpus& corpus, int64_t first, int32_t end_token, std::span<int32_t> inputs,
                 std::span<int32_t> labels) {
    corpus.read(first, inputs);
    corpus.read(first + 1, labels);
    if (end_token >= 0) std::replace(labels.begin(), labels.end(), end_token, Llama::ignore_label);
}

void read_sequence(const Corpus& corpus, const PageShape& shape, int64_t page, int64_t s, int32_t end_token,
                   std::span<int32_t> inputs, std::span<int32_t> labels) {
    if (std::ssize(inputs) != shape.seq || std::ssize(labels) != shape.seq)
        fail(ExitCode::internal, "read_sequence: expected room for {} tokens, found {} and {}", shape.seq,
             inputs.size(), labels.size());
    read_window(corpus, sequence_start(corpus, shape, page, s), end_token, inputs, labels);
}

}  // namespace templar
