// sentencepiece models as files: tokenizer.model (a protobuf of sentencepiece_model.proto) and llama2.c's
// tokenizer.bin.
#include "base/error.h"
#include "tokenizer/protobuf.h"
#include "tokenizer/sentencepiece.h"

#include <algorithm>

namespace templar {

namespace {

SentencePiece read_piece(ByteSpan message, std::string_view what) {
    SentencePiece piece;
    for (ProtobufReader reader(message, what); reader.next();) {
        if (reader.field() == 1) piece.text = reader.text();
        if (reader.field() == 2) piece.score = reader.float32();
        if (reader.field() != 3) continue;
        const uint64_t type = reader.number();
        if (type < 1 || type > 6) fail(ExitCode::input, "{}: type {}, expected 1 to 6", what, type);
        piece.type = static_cast<SentencePiece::Type>(type);
    }
    return piece;
}

// Returns the model_type, as it was before when the message does not say.
uint64_t read_trainer_spec(ByteSpan message, std::string_view what, uint64_t kind, SentencePieceRules& rules) {
    for (ProtobufReader reader(message, what); reader.next();) {
        if (reader.field() == 3) kind = reader.number();
        if (reader.field() == 24) rules.whitespace_as_suffix = reader.boolean();
        if (reader.field() == 35) rules.byte_fallback = reader.boolean();
        if (reader.field() == 46) rules.begin = reader.text();
        if (reader.field() == 47) rules.end = reader.text();
    }
    return kind;
}

void require_bpe(uint64_t kind, std::string_view what) {
    static constexpr const char* kinds[] = {"Unigram", "BPE", "word", "character"};
    constexpr uint64_t bpe = 2;
    if (kind != bpe)
        fail(ExitCode::input, "{}: trainer_spec: model_type {} ({}), expected 2 (BPE): no other kind is done here",
             what, kind, kind >= 1 && kind <= 4 ? kinds[kind - 1] : "unknown");
}

void read_normalizer_spec(ByteSpan message, std::string_view what, SentencePieceRules& rules) {
    for (ProtobufReader reader(message, what); reader.next();) {
        if (reader.field() == 2 && !reader.bytes().empty())
            rules.charsmap = Charsmap(reader.bytes(), fmt::format("{}: precompiled_charsmap", what));
        if (reader.field() == 3) rules.add_dummy_prefix = reader.boolean();
        if (reader.field() == 4) rules.remove_extra_whitespaces = reader.boolean();
        if (reader.field() == 5) rules.escape_whitespaces = reader.boolean();
    }
}

}  // namespace

SentencePieceBpe SentencePieceBpe::from_model(ByteSpan file, std::string_view what) {
    std::vector<SentencePiece> pieces;
    SentencePieceRules rules;
    uint64_t kind = 1;  // Unigram is what a file means that does not say
    for (ProtobufReader reader(file, what); reader.next();) {
        if (reader.field() == 1)
            pieces.push_back(read_piece(reader.bytes(), fmt::format("{}: pieces[{}]", what, pieces.size())));
        if (reader.field() == 2)
            kind = read_trainer_spec(reader.bytes(), fmt::format("{}: trainer_spec", what), kind, rules);
        if (reader.field() == 3) read_normalizer_spec(reader.bytes(), fmt::format("{}: normalizer_spec", what), rules);
    }
    require_bpe(kind, what);
    return SentencePieceBpe(std::move(pieces), std::move(rules), what);
}

SentencePieceBpe SentencePieceBpe::from_llama2c(ByteSpan file, std::string_view what) {
    constexpr size_t first_byte_piece = 3, first_normal_piece = 259;
    SentencePieceRules rules{.remove_extra_whitespaces = false, .byte_fallback = true};
    std::vector<SentencePiece> pieces;
    ByteReader reader(file, what);
    reader.get<int32_t>();  // the longest piece's length: nothing here depends on it
    while (reader.remaining() > 0) {
        SentencePiece piece;
        piece.score = std::bit_cast<float>(reader.get<uint32_t>());
        const auto length = reader.get<int32_t>();
        if (length < 0 || static_cast<size_t>(length) > reader.remaining())
            fail(ExitCode::input,
                 "{}: piece {} has {} bytes where {} are left: truncated, or not llama2.c's tokenizer.bin", what,
                 pieces.size(), length, reader.remaining());
        for (const uint8_t byte : reader.get_bytes(static_cast<size_t>(length))) {
            if (byte == ' ')
                piece.text += "\u2581";
            else
                piece.text += static_cast<char>(byte);
        }
        pieces.push_back(std::move(piece));
    }
    if (pieces.size() < first_normal_piece)
        fail(ExitCode::input, "{}: {} pieces, expected at least {}: <unk>, <s>, </s> and 256 bytes", what,
             pieces.size(), first_normal_piece);
    for (size_t i = 0; i < first_normal_piece; ++i)
        pieces[i].type = i == 0                 ? SentencePiece::Type::unknown
                         : i < first_byte_piece ? SentencePiece::Type::control
                                                : SentencePiece::Type::byte;
    // There their names are "\n<s>\n" and "\n</s>\n".
    pieces[1].text = rules.begin;
    pieces[2].text = rules.end;
    return SentencePieceBpe(std::move(pieces), std::move(rules), what);
}

}  // namespace templar
