// Text <-> token ids, whatever the scheme behind it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

class Tokenizer {
  public:
    virtual ~Tokenizer() = default;

    // Appends the ids of `text`, without begin or end token. Text is not scanned for special tokens: they cannot be forged
    // by a text. Safe from several threads at once.
    virtual void encode(std::string_view text, std::vector<int32_t>& out) const = 0;
    std::vector<int32_t> encode(std::string_view text) const {
        std::vector<int32_t> ids;
        encode(text, ids);
        return ids;
    }
    // A text can be encoded in parts: cut() is the first place at or after `from` (> 0) where encode(first part) and
    // encode_rest(other part) give the ids that encode(text) would, whatever follows the text; text.size() when there is
    // none. The default: never.
    virtual size_t cut(std::string_view text, [[maybe_unused]] size_t from) const { return text.size(); }
    // Appends the ids of a part that begins at such a cut.
    virtual void encode_rest(std::string_view text, std::vector<int32_t>& out) const { encode(text, out); }
    // The text of the ids; a special token gives its name, e.g. </s>. Throws Error(input) on an id outside the vocabulary.
    virtual std::string decode(std::span<const int32_t> ids) const = 0;
    std::string decode(std::initializer_list<int32_t> ids) const { return decode(std::span(ids.begin(), ids.size())); }
    // The bytes that one id adds to a text that has begun (a part of a character, perhaps): for printing token by token.
    virtual std::string token_text(int32_t id) const = 0;

    virtual int64_t vocab_size() const = 0;
    // Begins a document (Llama's <s>), ends one (</s>, <|endoftext|>); -1 when there is none.
    virtual int32_t begin_token() const = 0;
    virtual int32_t end_token() const = 0;

    // Hugging Face's tokenizer.json of the same tokenizer: loads there, and in load_tokenizer, as it stands.
    virtual std::string to_json() const = 0;
    void save(const std::filesystem::path& path) const;
};

// From a file: tokenizer.json, sentencepiece's tokenizer.model, llama2.c's tokenizer.bin; or from a folder that has one of
// them, or vocab.json with merges.txt. Throws Error(input) naming what is missing, malformed or of a kind that is not done here.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);
// From the bytes of a tokenizer.json.
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view json, std::string_view what);

// The tokenizer's files of a Hugging Face model folder: tokenizer.json, tokenizer_config.json and special_tokens_map.json, for
// AutoTokenizer.from_pretrained(folder). `max_length` is the longest sequence the model takes, in tokens. Throws
// Error(storage) when a file cannot be written, Error(input) when Hugging Face's library has no such tokenizer.
void write_huggingface_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder, int64_t max_length);

}  // namespace templar
