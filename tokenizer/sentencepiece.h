// sentencepiece's BPE (Llama's scheme): text is normalised, spaces become U+2581 ("▁"), and characters merge into
// pieces by the pieces' scores; a character without a piece is spelled in byte pieces. Ids are those of sentencepiece
// 0.2, checked against it.
#pragma once

#include "base/bytes.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/merges.h"
#include "tokenizer/prefixes.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/word_table.h"

#include <array>
#include <optional>
#include <unordered_map>

namespace templar {

struct SentencePiece {
    enum class Type : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };  // numbered as in its files
    std::string text;                                                                        // UTF-8; a space is "▁"
    float score = 0;  // of two merges the one whose result has the higher score is made first
    Type type = Type::normal;
};

// What a model says besides its pieces; the defaults are sentencepiece's.
struct SentencePieceRules {
    bool add_dummy_prefix = true;          // a space before the text
    bool remove_extra_whitespaces = true;  // at both ends, and of several but one
    bool escape_whitespaces = true;        // ' ' becomes ▁
    bool whitespace_as_suffix = false;     // the dummy space goes behind the text
    bool byte_fallback = false;            // a character without a piece becomes its bytes, not <unk>
    std::string begin = "<s>", end = "</s>";
    Charsmap charsmap{};  // rewrites text before anything else but finding user-defined pieces
};

class SentencePieceBpe : public Tokenizer {
  public:
    // From sentencepiece's tokenizer.model. Throws Error(input) naming what is malformed or of a kind that is not done
    // here: Unigram, word and character models.
    static SentencePieceBpe from_model(ByteSpan file, std::string_view what);
    // From llama2.c's tokenizer.bin: i32 length of the longest piece, then of each piece f32 score, i32 length, bytes.
    // By its rules pieces 0, 1, 2 are <unk>, <s>, </s> and the 256 bytes follow. Throws Error(input).
    static SentencePieceBpe from_llama2c(ByteSpan file, std::string_view what);
    // From a tokenizer.json as to_json writes it, Llama's among them. Its merges are ranked one by one, where a model
    // ranks pieces: where two pieces have one score, ids are those of Hugging Face's library. Throws Error(input).
    static SentencePieceBpe from_json(const Field& file, std::string_view what, const SpecialNames& names);
    // Throws Error(input) naming the piece: empty, not UTF-8, twice there, longer than 1024 bytes, a score that is no
    // number; no or several unknown pieces; with byte_fallback, not all 256 of <0x00> … <0xFF>.
    SentencePieceBpe(std::vector<SentencePiece> pieces, SentencePieceRules rules, std::string_view what);

    // A byte that is not part of valid UTF-8 is encoded as U+FFFD, as there.
    using Tokenizer::encode, Tokenizer::decode;
    void encode(std::string_view text, std::vector<int32_t>& out) const override;
    size_t cut(std::string_view text, size_t from) const override;
    void encode_rest(std::string_view text, std::vector<int32_t>& out) const override;
    // The space that add_dummy_prefix puts before a text is taken away at the beginning and after each control piece.
    // Byte pieces give their bytes, also where these are no whole character.
    std::string decode(std::span<const int32_t> ids) const override;
    std::string token_text(int32_t id) const override;

    int64_t vocab_size() const override { return static_cast<int64_t>(pieces_.size()); }
    int32_t begin_token() const override { return begin_token_; }
    int32_t end_token() const override { return end_token_; }
    // Throws Error(input) on what Hugging Face's library cannot do as sentencepiece does: unused pieces, the dummy
    // space as suffix, some user-defined pieces. docs/tokenize.md says in which texts that library's ids differ.
    std::string to_json() const override;

  private:
    using Type = SentencePiece::Type;
    using IdOf = std::unordered_map<std::string_view, int32_t>;
    using RankedMerges = std::vector<std::pair<int32_t, int32_t>>;
    SentencePieceBpe(std::vector<SentencePiece> pieces, SentencePieceRules rules, RankedMerges merges,
                     std::string_view what);

    void index_pieces(std::string_view what);
    void find_special_pieces(std::string_view what);
    // The pieces that merge, as they stand in a normalised text, where a space is ' '; "" for the others.
    std::vector<std::string> mergeable_texts() const;
    void index_characters(const std::vector<std::string>& texts);
    void join(std::string_view left, std::string_view right);
    void add_whole_words(const std::vector<std::string>& texts);
    void make_merges(const std::vector<std::string>& texts);
    void take_merges(const std::vector<std::string>& texts, RankedMerges merges, std::string_view what);

    std::string_view next_normalized(std::string_view& text) const;
    bool becomes_spaces(std::string_view text) const;
    bool normalizes() const;
    std::string normalized(std::string_view text, bool is_begin) const;
    bool can_cut_before_space(std::string_view before) const;
    // Text that is normalised, with its dummy space.
    void encode_normalized(std::string_view text, std::vector<int32_t>& out) const;
    void encode_stretch(std::string_view text, std::vector<int32_t>& out) const;
    void encode_word(std::string_view word, std::vector<int32_t>& out) const;
    void encode_with_unused(std::string_view text, std::vector<int32_t>& out) const;
    void symbols_of(std::string_view text, std::vector<int32_t>& symbols) const;
    void spell(std::string_view character, std::vector<int32_t>& out) const;
    bool joins(char left, char right) const {
        return joins_[static_cast<size_t>(static_cast<uint8_t>(left)) << 8 | static_cast<uint8_t>(right)];
    }
    const SentencePiece& piece(size_t index, int32_t id) const;

    std::vector<SentencePiece> pieces_;
    SentencePieceRules rules_;
    std::vector<std::string> text_of_;  // of a token within a text
    int32_t begin_token_ = -1, end_token_ = -1, unknown_ = -1;
    std::array<int32_t, 256> byte_piece_{};
    bool has_unused_ = false;
    Prefixes user_defined_, normalized_user_defined_;  // as they stand in a text, and in a normalised one

    // Symbols are what merges: piece ids, and above them characters that stand in pieces without being one.
    PairMap<int32_t> symbol_of_;  // by (character, 0)
    std::vector<std::string> bare_characters_;
    Merges merges_;
    RankedMerges merge_list_;  // in order of rank; of equal ranks the one whose left part is longer comes first
    WordTable whole_words_;    // that become one token
    // By the last byte of a character and the first of the next: whether some piece has such characters side by side.
    // Where none has, no piece reaches from one to the other, so that a text can be cut into words there.
    std::vector<bool> joins_;
};

}  // namespace templar
