// Byte-level BPE (GPT-2's scheme, also Llama-3's and Qwen2's): text <-> token ids, Hugging Face's tokenizer.json.
#pragma once

#include "tokenizer/merges.h"
#include "tokenizer/prefixes.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/word_table.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace templar {

class ByteLevelBpe : public Tokenizer {
  public:
    // From a Hugging Face tokenizer.json of a byte-level BPE. Throws Error(input) naming the field that is
    // missing, malformed or of a kind this class does not do. Added tokens that are not special are looked for in a
    // text first, as there.
    static ByteLevelBpe from_json(std::string_view json, std::string_view what);
    static ByteLevelBpe from_json(const Field& file, std::string_view what, const SpecialNames& names);
    // GPT-2's pair of files.
    static ByteLevelBpe from_gpt2(std::string_view vocab_json, std::string_view merges_txt);
    // From token byte strings in id order and merges (pairs of ids in rank order); the end token is one of
    // the tokens,
    // "" means none. Throws Error(input) unless all 256 single bytes are tokens, no two tokens are equal, and
    // every merge makes a token.
    ByteLevelBpe(std::vector<std::string> tokens, std::vector<std::pair<int32_t, int32_t>> merges,
                 std::string end_token);

    // Any bytes can be encoded, and decode gives them back; with the normalizer NFC (Qwen2's) it gives NFC of the text.
    using Tokenizer::encode, Tokenizer::decode;
    void encode(std::string_view text, std::vector<int32_t>& out) const override;
    // Before white space that follows an ASCII letter or digit: every pattern splits there, and nothing before it depends
    // on what follows, NFC neither. (Not after white space: how a run of it is split depends on what follows.)
    size_t cut(std::string_view text, size_t from) const override;
    std::string decode(std::span<const int32_t> ids) const override;
    std::string token_text(int32_t id) const override { return decode({id}); }

    int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
    int32_t begin_token() const override { return begin_token_; }
    int32_t end_token() const override { return end_token_; }
    std::string to_json() const override;

  private:
    struct Parts {
        std::vector<std::string> tokens;
        std::vector<std::pair<int32_t, int32_t>> merges;
        std::vector<int32_t> added;     // ids that no merge gives
        std::vector<int32_t> searched;  // those of them that are looked for in a text
        int32_t begin_token = -1, end_token = -1;
        Split split = Split::gpt2;
        bool nfc = false;            // text is put into Unicode's normalisation form C first
        bool ignore_merges = false;  // a pre-token that is a token is not made by merges
    };
    ByteLevelBpe(Parts parts, std::string_view what);
    static Parts with_end_token(std::vector<std::string> tokens, std::vector<std::pair<int32_t, int32_t>> merges,
                                const std::string& end_token);
    static Parts parts_of(TokenizerJson json, std::string_view what);

    using IdOf = std::unordered_map<std::string_view, int32_t>;
    IdOf index_tokens(std::string_view what);
    void add_merges(const IdOf& id_of, std::string_view what);
    void add_whole_words(const IdOf& id_of);
    void encode_stretch(std::string_view text, std::vector<int32_t>& out) const;
    void encode_word(std::string_view word, std::vector<int32_t>& symbols, std::vector<int32_t>& out) const;

    std::vector<std::string> tokens_;
    std::vector<std::pair<int32_t, int32_t>> merges_;
    std::vector<int32_t> added_, searched_ids_;
    Prefixes searched_;
    int32_t begin_token_ = -1, end_token_ = -1;
    Split split_ = Split::gpt2;
    bool nfc_ = false, ignore_merges_ = false;
    std::array<int32_t, 256> byte_token_{};
    Merges merge_of_;
    WordTable whole_words_;  // pre-tokens that become one token
};

// Called now and then by train_bpe with the stage ("count": bytes of text; "merge": tokens made), what is
// done and the total.
using TrainProgress = std::function<void(std::string_view stage, int64_t done, int64_t total)>;

// Trains a byte-level BPE of `vocab_size` tokens (256 bytes + merges + <|endoftext|>) on documents.
// Deterministic: equal counts are merged in order of the pair's byte strings; a pair whose bytes are a token
// already is passed over. Throws Error(input) when the text is empty or vocab_size < 257, and when the text
// has too few pairs that occur twice to fill the vocabulary.
ByteLevelBpe train_bpe(const std::vector<std::string_view>& documents, int64_t vocab_size,
                    const TrainProgress& progress = {});

}  // namespace templar
