// The files that a corpus's tokens lie in, while they are written and when they are divided.
#pragma once

#include "base/file.h"
#include "tokenizer/shards.h"

namespace templar {

// How tokens lie in files.
struct TokenLayout {
    int64_t vocab_size = 0;
    int64_t shard_tokens = 0;
    bool raw = false;

    int64_t width() const { return bytes_per_token(vocab_size); }
    int64_t header_bytes() const { return raw ? 0 : 1024; }
    int64_t file_bytes(int64_t tokens) const { return header_bytes() + tokens * width(); }
    std::string file_name(std::string_view split, int64_t index) const;
    Bytes header(int64_t tokens) const;
};

// Writes the tokens of one split, file after file. A file has a hidden name until it is full.
class TokenFiles {
  public:
    // `finished` files are there already, and `open_tokens` tokens of the next one, which go on from there; what is
    // behind them was written after the state was saved and is dropped. Throws Error(input) when they are not there.
    TokenFiles(const std::filesystem::path& folder, const TokenLayout& layout, std::string split,
               std::vector<ShardInfo> finished = {}, int64_t open_tokens = 0);
    // Tokens as they lie in a file. Throws Error(storage).
    void append(ByteSpan tokens);
    // What was appended survives a power cut.
    void sync();
    // Closes the last file.
    void finish();
    // Removes what is of an unfinished file.
    void discard();

    const std::vector<ShardInfo>& finished() const { return finished_; }

  private:
    std::filesystem::path final_path() const;
    std::filesystem::path hidden_path() const;
    void open(int64_t tokens);
    void finish_file();

    const std::filesystem::path folder_;
    const TokenLayout layout_;
    const std::string split_;
    std::vector<ShardInfo> finished_;
    int64_t open_tokens_ = 0;
    Descriptor file_;
};

// The tokens of finished files, by their number.
class TokenReader {
  public:
    TokenReader(const std::filesystem::path& folder, const TokenLayout& layout, const std::vector<ShardInfo>& files);
    int64_t tokens() const { return first_.back(); }
    // Some tokens from number i on, before number `end`; not none when i < end.
    std::vector<int32_t> run(int64_t i, int64_t end);
    // The bytes of the tokens from number i on, as far as they lie in one file.
    ByteSpan bytes_from(int64_t i);
    // The file that token i lies in, and which of its tokens it is.
    std::pair<size_t, int64_t> place(int64_t i) const;

  private:
    const std::filesystem::path folder_;
    const TokenLayout layout_;
    const std::vector<ShardInfo>& files_;
    std::vector<int64_t> first_;  // of each file; then how many there are
    std::optional<MappedFile> mapped_;
    size_t mapped_index_ = 0;
};

// SHA-256 of a file as it will be when it has been cut to its first `tokens` tokens.
Digest hash_when_cut(const std::filesystem::path& path, const TokenLayout& layout, int64_t tokens);
// Cuts it. Done twice it is the same.
void cut_file(const std::filesystem::path& path, const TokenLayout& layout, int64_t tokens);

}  // namespace templar
