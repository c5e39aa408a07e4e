// The corpus as the engine sees it: one long row of tokens in memory-mapped shards, cut into pages (docs/protocol.md §4).
#pragma once

#include "base/file.h"
#include "base/random.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace templar {

// Token shards in llm.c's format: 256 int32 header (magic 20240520, version 1: uint16 tokens, 7: uint32 tokens, count), tokens.
// Reading is here, writing in tokenizer/; the manifest that lists shards with lengths and hashes is checked by the caller.
class Corpus {
  public:
    // Throws Error(input) naming the shard and what is wrong with it: magic, version, length.
    explicit Corpus(const std::vector<std::filesystem::path>& shards);
    // A file of nothing but little-endian ids of 2 or 4 bytes each. Throws Error(input) when its length is no multiple of that.
    static Corpus raw(const std::filesystem::path& file, int bytes_per_token);

    int64_t tokens() const { return tokens_; }
    // Reads everything. Throws Error(input) naming the first id that is not below vocab_size; `what` names the corpus.
    void check_vocabulary(int64_t vocab_size, std::string_view what) const;
    // Copies tokens [first, first + out.size()), across shards. Throws Error(input) past the end.
    void read(int64_t first, std::span<int32_t> out) const;

  private:
    Corpus(const std::filesystem::path& raw_file, int bytes_per_token);
    struct Shard {
        MappedFile file;
        int64_t header_bytes;
        int64_t first;
        int64_t count;
        int bytes_per_token;
    };
    std::vector<Shard> shards_;
    int64_t tokens_ = 0;
};

// A page: `page_sequences` consecutive sequences of `seq` tokens, plus one token for the last target.
struct PageShape {
    int64_t page_sequences = 64;
    int64_t seq = 2048;
    int64_t tokens() const { return page_sequences * seq; }
};
// Pages in a corpus; throws Error(input) when not even one fits.
int64_t page_count(const Corpus& corpus, const PageShape& shape);

// The endless list of pages of one (hotkey, window): the j-th draw of a generator keyed by
// SHA-256("assign" ‖ run_id ‖ root ‖ hotkey ‖ u64 window).
class PageAssignment {
  public:
    PageAssignment(const Digest& run_id, const Digest& root, const Digest& hotkey, uint64_t window, int64_t pages);
    int64_t next() { return static_cast<int64_t>(rng_.below(static_cast<uint64_t>(pages_))); }

  private:
    CounterRng rng_;
    int64_t pages_;
};

// A sequence of the corpus, by page and position in the page.
struct SequenceId {
    int64_t page;
    int64_t sequence;
};

// The token that sequence `s` of page `page` begins with. Throws Error(input) when there is no such sequence.
int64_t sequence_start(const Corpus& corpus, const PageShape& shape, int64_t page, int64_t s);

// The tokens from `first` on as inputs (seq), those one further on as labels (seq); the label of a target equal to end_token
// is -100 (end_token < 0: none). Throws Error(input) past the end.
void read_window(const Corpus& corpus, int64_t first, int32_t end_token, std::span<int32_t> inputs,
                 std::span<int32_t> labels);

// Sequence `s` of page `page`: inputs (seq) and labels (seq); the label of a target equal to end_token is -100
// (end_token < 0: none).
void read_sequence(const Corpus& corpus, const PageShape& shape, int64_t page, int64_t s, int32_t end_token,
                   std::span<int32_t> inputs, std::span<int32_t> labels);

}  // namespace templar
