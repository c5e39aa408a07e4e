// Byte-level BPE (GPT-2's scheme): text <-> token ids, Hugging Face's tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace templar {

class Tokenizer {
  public:
    // From a Hugging Face tokenizer.json of a byte-level BPE. Throws Error(input) naming the field that is missing,
    // malformed or of a kind this class does not do.
    static Tokenizer from_json(std::string_view json, std::string_view what);
    static Tokenizer load(const std::filesystem::path& path);
    // GPT-2's pair of files.
    static Tokenizer from_gpt2(std::string_view vocab_json, std::string_view merges_txt);
    // From token byte strings in id order and merges (pairs of ids in rank order).
    Tokenizer(std::vector<std::string> tokens, std::vector<std::pair<int32_t, int32_t>> merges, std::string end_token);

    std::string to_json() const;  // loads in Hugging Face's tokenizers as it stands
    void save(const std::filesystem::path& path) const;

    // Text is not scanned for special tokens: they cannot be forged by a text.
    std::vector<int32_t> encode(std::string_view text) const;
    void encode(std::string_view text, std::vector<int32_t>& out) const;  // appends
    // Bytes of the ids one after the other. Throws Error(input) on an id outside the vocabulary.
    std::string decode(const std::vector<int32_t>& ids) const;

    int64_t vocab_size() const { return static_cast<int64_t>(tokens_.size()); }
    int32_t end_token() const { return end_token_; }  // <|endoftext|>, -1 when there is none

  private:
    std::vector<std::string> tokens_;
    std::vector<std::pair<int32_t, int32_t>> merges_;
    std::unordered_map<uint64_t, int32_t> merge_rank_;
    int32_t end_token_ = -1;
};

// Trains a byte-level BPE of `vocab_size` tokens (256 bytes + merges + <|endoftext|>) on documents. Deterministic: equal counts are
// merged in order of the pair's byte strings. Throws Error(input) when the text is empty or vocab_size < 257.
Tokenizer train_bpe(const std::vector<std::string_view>& documents, int64_t vocab_size);

}  // namespace templar
