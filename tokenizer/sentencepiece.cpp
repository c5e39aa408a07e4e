#include "tokenizer/sentencepiece.h"

#include "base/error.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_cache.h"

#include <algorithm>
#include <cmath>

namespace templar {

namespace {

constexpr std::string_view space_symbol = "\u2581", replacement_character = "\ufffd";
constexpr size_t longest_piece = 1024;  // so that all its splits are looked up in little time

std::string replaced(std::string_view text, std::string_view old_part, std::string_view new_part) {
    std::string result;
    for (size_t at; (at = text.find(old_part)) != text.npos; text.remove_prefix(at + old_part.size()))
        result.append(text.substr(0, at)).append(new_part);
    return result.append(text);
}

std::string_view character_at(std::string_view text, size_t at) {
    return text.substr(at, static_cast<size_t>(utf8_at(text, at).length));
}

bool is_one_character(std::string_view text) {
    return character_at(text, 0).size() == text.size();
}

int32_t code_of(std::string_view character) {
    return static_cast<int32_t>(utf8_at(character, 0).code);
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(std::vector<SentencePiece> pieces, SentencePieceRules rules, std::string_view what)
    : SentencePieceBpe(std::move(pieces), std::move(rules), {}, what) {
    const std::vector<std::string> texts = mergeable_texts();
    make_merges(texts);
    add_whole_words(texts);
}

SentencePieceBpe::SentencePieceBpe(std::vector<SentencePiece> pieces, SentencePieceRules rules, RankedMerges merges,
                                   std::string_view what)
    : pieces_(std::move(pieces)), rules_(std::move(rules)) {
    if (pieces_.size() > static_cast<size_t>(INT32_MAX) / 2)
        fail(ExitCode::input, "{}: {} pieces, expected at most {}", what, pieces_.size(), INT32_MAX / 2);
    index_pieces(what);
    find_special_pieces(what);
    const std::vector<std::string> texts = mergeable_texts();
    index_characters(texts);
    if (merges.empty()) return;
    take_merges(texts, std::move(merges), what);
    add_whole_words(texts);
}

const SentencePiece& SentencePieceBpe::piece(size_t index, int32_t id) const {
    if (id < 0 || id >= vocab_size())
        fail(ExitCode::input, "token {} is {}, expected 0 to {}: was it made with another tokenizer?", index, id,
             vocab_size() - 1);
    return pieces_[static_cast<size_t>(id)];
}

void SentencePieceBpe::index_pieces(std::string_view what) {
    IdOf normal, reserved;  // a control piece may be spelled like a normal one
    for (size_t i = 0; i < pieces_.size(); ++i) {
        const SentencePiece& piece = pieces_[i];
        const auto id = static_cast<int32_t>(i);
        if (piece.text.empty() || piece.text.size() > longest_piece)
            fail(ExitCode::input, "{}: piece {} has {} bytes, expected 1 to {}", what, id, piece.text.size(),
                 longest_piece);
        if (find_invalid_utf8(piece.text) != std::string::npos)
            fail(ExitCode::input, "{}: piece {} is not valid UTF-8", what, id);
        if (std::isnan(piece.score)) fail(ExitCode::input, "{}: the score of piece {} is not a number", what, id);
        const bool is_reserved = piece.type == Type::control || piece.type == Type::unknown || piece.type == Type::byte;
        const auto [other, is_new] = (is_reserved ? reserved : normal).emplace(piece.text, id);
        if (!is_new) fail(ExitCode::input, "{}: pieces {} and {} are both '{}'", what, other->second, id, piece.text);
        text_of_.push_back(is_reserved ? piece.text : replaced(piece.text, space_symbol, " "));
        has_unused_ = has_unused_ || piece.type == Type::unused;
        if (piece.type == Type::user_defined) {
            user_defined_.add(piece.text, id);
            const bool occurs = !rules_.escape_whitespaces || piece.text.find(' ') == std::string::npos;
            if (occurs) normalized_user_defined_.add(rules_.escape_whitespaces ? text_of_.back() : piece.text, id);
        }
        if (piece.type == Type::control && piece.text == rules_.begin) begin_token_ = id;
        if (piece.type == Type::control && piece.text == rules_.end) end_token_ = id;
    }
}

void SentencePieceBpe::find_special_pieces(std::string_view what) {
    byte_piece_.fill(-1);
    for (size_t i = 0; i < pieces_.size(); ++i) {
        const SentencePiece& piece = pieces_[i];
        const auto id = static_cast<int32_t>(i);
        if (piece.type == Type::unknown) {
            if (unknown_ >= 0)
                fail(ExitCode::input, "{}: pieces {} and {} are both unknown pieces", what, unknown_, id);
            unknown_ = id;
        } else if (piece.type == Type::byte) {
            int byte = 0;
            while (byte < 256 && piece.text != fmt::format("<0x{:02X}>", byte)) ++byte;
            if (byte == 256 || !rules_.byte_fallback)
                fail(ExitCode::input, "{}: piece {} is the byte piece '{}', expected {}", what, id, piece.text,
                     rules_.byte_fallback ? "<0x00> to <0xFF>" : "none without byte_fallback");
            byte_piece_[static_cast<size_t>(byte)] = id;
            text_of_[i] = std::string(1, static_cast<char>(static_cast<uint8_t>(byte)));
        }
    }
    if (unknown_ < 0) fail(ExitCode::input, "{}: no piece for what is unknown, expected one (<unk>)", what);
    for (int byte = 0; rules_.byte_fallback && byte < 256; ++byte)
        if (byte_piece_[static_cast<size_t>(byte)] < 0)
            fail(ExitCode::input, "{}: byte_fallback is set, but there is no byte piece <0x{:02X}>", what, byte);
}

// User-defined pieces are found before anything merges, so no merge makes or takes one.
std::vector<std::string> SentencePieceBpe::mergeable_texts() const {
    std::vector<std::string> texts(pieces_.size());
    for (size_t i = 0; i < pieces_.size(); ++i) {
        const SentencePiece& piece = pieces_[i];
        if (piece.type != Type::normal && piece.type != Type::unused) continue;
        if (!rules_.escape_whitespaces)
            texts[i] = piece.text;
        else if (piece.text.find(' ') == std::string::npos)
            texts[i] = text_of_[i];
    }
    return texts;
}

void SentencePieceBpe::index_characters(const std::vector<std::string>& texts) {
    joins_.assign(256 * 256, false);
    // No cut inside a character: before a continuation byte.
    for (size_t left = 0; left < 256; ++left)
        for (size_t right = 0x80; right < 0xc0; ++right) joins_[left << 8 | right] = true;
    for (size_t i = 0; i < texts.size(); ++i) {
        const std::string_view text = texts[i];
        if (text.empty()) continue;
        if (is_one_character(text)) symbol_of_.insert(code_of(text), 0, static_cast<int32_t>(i));
        std::string_view left = character_at(text, 0);
        for (size_t at = left.size(); at < text.size(); at += left.size()) {
            const std::string_view right = character_at(text, at);
            join(left, right);
            left = right;
        }
    }
}

// A space may stand in a text as U+2581, and U+FFFD as any byte that is not part of valid UTF-8.
void SentencePieceBpe::join(std::string_view left, std::string_view right) {
    const auto bytes = [&](std::string_view character, bool last) {
        const auto byte_of = [&](std::string_view c) { return static_cast<uint8_t>(last ? c.back() : c.front()); };
        std::vector<uint8_t> found{byte_of(character)};
        if (character == " " && rules_.escape_whitespaces) found.push_back(byte_of(space_symbol));
        for (int byte = 0x80; character == replacement_character && byte < 256; ++byte)
            found.push_back(static_cast<uint8_t>(byte));
        return found;
    };
    for (const uint8_t a : bytes(left, true))
        for (const uint8_t b : bytes(right, false)) joins_[static_cast<size_t>(a) << 8 | b] = true;
}

// Most words of a text are one token: these are found at once.
void SentencePieceBpe::add_whole_words(const std::vector<std::string>& texts) {
    if (has_unused_) return;
    std::vector<int32_t> ids;
    for (size_t i = 0; i < texts.size(); ++i) {
        if (texts[i].empty()) continue;
        ids.clear();
        encode_word(texts[i], ids);
        if (ids == std::vector<int32_t>{static_cast<int32_t>(i)}) whole_words_.add(texts[i], ids[0]);
    }
}

// Every way of making a piece from two symbols, ranked by the piece's score.
void SentencePieceBpe::make_merges(const std::vector<std::string>& texts) {
    struct Found {
        int32_t left, right, rank;
        size_t left_size;
    };
    IdOf id_of;
    std::vector<float> scores;
    for (size_t i = 0; i < texts.size(); ++i) {
        if (texts[i].empty()) continue;
        id_of.emplace(texts[i], static_cast<int32_t>(i));
        scores.push_back(pieces_[i].score);
    }
    std::sort(scores.begin(), scores.end(), std::greater<>());
    scores.erase(std::unique(scores.begin(), scores.end()), scores.end());

    const auto symbol = [&](std::string_view text) -> int32_t {
        if (const auto found = id_of.find(text); found != id_of.end()) return found->second;
        if (!is_one_character(text)) return -1;
        const auto next = static_cast<int32_t>(pieces_.size() + bare_characters_.size());
        const auto [id, is_new] = symbol_of_.insert(code_of(text), 0, next);
        if (is_new) bare_characters_.emplace_back(text);
        return *id;
    };
    std::vector<Found> all;
    for (size_t i = 0; i < texts.size(); ++i) {
        const std::string_view text = texts[i];
        if (text.empty()) continue;
        const auto better = std::lower_bound(scores.begin(), scores.end(), pieces_[i].score, std::greater<>());
        const Merge merge{static_cast<int32_t>(better - scores.begin()), static_cast<int32_t>(i)};
        for (size_t at = character_at(text, 0).size(); at < text.size(); at += character_at(text, at).size()) {
            const int32_t left = symbol(text.substr(0, at)), right = symbol(text.substr(at));
            if (left < 0 || right < 0) continue;
            merges_.add(left, right, merge);
            all.push_back({left, right, merge.rank, at});
        }
    }
    std::stable_sort(all.begin(), all.end(), [](const Found& a, const Found& b) {
        return a.rank != b.rank ? a.rank < b.rank : a.left_size > b.left_size;
    });
    for (const Found& merge : all) merge_list_.emplace_back(merge.left, merge.right);
}

void SentencePieceBpe::take_merges(const std::vector<std::string>& texts, RankedMerges merges, std::string_view what) {
    IdOf id_of;
    for (size_t i = 0; i < texts.size(); ++i)
        if (!texts[i].empty()) id_of.emplace(texts[i], static_cast<int32_t>(i));
    merge_list_ = std::move(merges);
    for (size_t rank = 0; rank < merge_list_.size(); ++rank) {
        const auto [left, right] = merge_list_[rank];
        const std::string &first = texts[static_cast<size_t>(left)], &second = texts[static_cast<size_t>(right)];
        const auto made = first.empty() || second.empty() ? id_of.end() : id_of.find(first + second);
        if (made == id_of.end())
            fail(ExitCode::input, "{}: merge {} joins ids {} and {}, which do not make a token that text can have",
                 what, rank, left, right);
        if (!merges_.add(left, right, {static_cast<int32_t>(rank), made->second}))
            fail(ExitCode::input, "{}: merge {} repeats an earlier one (ids {} and {})", what, rank, left, right);
    }
}

// Takes the next piece that the normalizer looks at from the text: what it becomes.
std::string_view SentencePieceBpe::next_normalized(std::string_view& text) const {
    const auto take = [&](size_t size) {
        const std::string_view front = text.substr(0, size);
        text.remove_prefix(size);
        return front;
    };
    if (const size_t length = user_defined_.longest(text).first; length > 0) return take(length);
    if (const Charsmap::Rule rule = rules_.charsmap.longest(text); rule.length > 0) {
        take(rule.length);
        return rule.replacement;
    }
    const Utf8Char c = utf8_at(text, 0);
    const std::string_view character = take(static_cast<size_t>(c.length));
    return c.valid ? character : replacement_character;
}

bool SentencePieceBpe::normalizes() const {
    return rules_.remove_extra_whitespaces || !user_defined_.empty() || !rules_.charsmap.empty();
}

bool SentencePieceBpe::becomes_spaces(std::string_view text) const {
    while (!text.empty())
        if (next_normalized(text) != " ") return false;
    return true;
}

// As sentencepiece's normalizer does it, also with its charsmap, but that an escaped space stays ' ': nothing else in
// the result is one.
std::string SentencePieceBpe::normalized(std::string_view text, bool is_begin) const {
    std::string result;
    bool after_space = is_begin && rules_.remove_extra_whitespaces;
    while (!text.empty()) {
        std::string_view part = next_normalized(text);
        if (after_space) part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
        if (part.empty()) continue;
        after_space = rules_.remove_extra_whitespaces && part.ends_with(' ');
        if (rules_.escape_whitespaces)
            result += replaced(part, space_symbol, " ");
        else
            result += part;
    }
    if (rules_.remove_extra_whitespaces) result.resize(result.find_last_not_of(' ') + 1);
    return result;
}

void SentencePieceBpe::encode(std::string_view text, std::vector<int32_t>& out) const {
    if (text.empty()) return;
    std::string changed;
    if (normalizes()) {
        if (rules_.remove_extra_whitespaces && becomes_spaces(text)) return;
        text = changed = normalized(text, true);
        // Of a text of U+2581 alone the dummy space before it is extra too.
        if (text.empty() && rules_.remove_extra_whitespaces && !rules_.whitespace_as_suffix) return;
    }
    if (rules_.add_dummy_prefix)
        text = changed = rules_.whitespace_as_suffix ? std::string(text) + ' ' : ' ' + std::string(text);
    encode_normalized(text, out);
}

// Before a space that no piece and no rule reaches over; but not where what lies on one side changes the other in
// another way.
size_t SentencePieceBpe::cut(std::string_view text, size_t from) const {
    const int32_t* space = symbol_of_.find(' ', 0);
    const bool fuses =
        !rules_.byte_fallback && !(space && *space < vocab_size());  // an unknown space with what is before it
    const bool apart =
        !rules_.whitespace_as_suffix && user_defined_.empty() && !rules_.charsmap.has(' ') && !has_unused_ && !fuses;
    if (!apart) return text.size();
    for (size_t at = text.find(' ', from); at < text.size(); at = text.find(' ', at + 1))
        if (at > 0 && can_cut_before_space(text.substr(0, at))) return at;
    return text.size();
}

// Where text is rewritten, only behind an ASCII character that is so by itself, and does not become a space or nothing:
// the space behind it is then no extra one, and stands for itself.
bool SentencePieceBpe::can_cut_before_space(std::string_view before) const {
    const std::string_view last = before.substr(before.size() - 1);
    if (!normalizes()) return !joins(last[0], ' ');
    if (static_cast<uint8_t>(last[0]) >= 0x80 || rules_.charsmap.has_behind(last[0])) return false;
    const Charsmap::Rule rule = rules_.charsmap.longest(last);
    const std::string_view becomes = rule.length > 0 ? rule.replacement : last;
    return !becomes.empty() && becomes.back() != ' ' && !becomes.ends_with(space_symbol) && !joins(becomes.back(), ' ');
}

void SentencePieceBpe::encode_rest(std::string_view text, std::vector<int32_t>& out) const {
    if (!normalizes()) return encode_normalized(text, out);
    const std::string changed = normalized(text, false);
    encode_normalized(changed, out);
}

void SentencePieceBpe::encode_normalized(std::string_view text, std::vector<int32_t>& out) const {
    const auto first = static_cast<ptrdiff_t>(out.size());
    normalized_user_defined_.split(
        text, [&](std::string_view stretch) { encode_stretch(stretch, out); }, [&](int32_t id) { out.push_back(id); });
    // Unknown pieces that follow each other are one.
    if (!rules_.byte_fallback)
        out.erase(std::unique(out.begin() + first, out.end(),
                              [&](int32_t a, int32_t b) { return a == unknown_ && b == unknown_; }),
                  out.end());
}

void SentencePieceBpe::encode_stretch(std::string_view text, std::vector<int32_t>& out) const {
    if (has_unused_) return encode_with_unused(text, out);
    WordCache cache(text.size());
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
        end = begin + 1;
        while (end < text.size() && joins(text[end - 1], text[end])) ++end;
        const std::string_view word = text.substr(begin, end - begin);
        if (const int32_t id = whole_words_.find(word); id >= 0)
            out.push_back(id);
        else
            cache.append(word, out, [this](std::string_view word, auto& ids) { encode_word(word, ids); });
    }
}

void SentencePieceBpe::symbols_of(std::string_view text, std::vector<int32_t>& symbols) const {
    for (size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_at(text, at);
        std::string_view character = text.substr(at, static_cast<size_t>(c.length));
        at += character.size();
        if (!c.valid) character = replacement_character;
        if (rules_.escape_whitespaces && character == space_symbol) character = " ";
        if (const int32_t* symbol = symbol_of_.find(code_of(character), 0))
            symbols.push_back(*symbol);
        else
            spell(rules_.escape_whitespaces && character == " " ? space_symbol : character, symbols);
    }
}

// What stands for a character that is no piece.
void SentencePieceBpe::spell(std::string_view character, std::vector<int32_t>& out) const {
    if (!rules_.byte_fallback) return out.push_back(unknown_);
    for (const char byte : character) out.push_back(byte_piece_[static_cast<uint8_t>(byte)]);
}

void SentencePieceBpe::encode_word(std::string_view word, std::vector<int32_t>& out) const {
    std::vector<int32_t> symbols;
    symbols_of(word, symbols);
    const size_t first = out.size();
    merges_.apply(symbols, out);
    if (bare_characters_.empty()) return;
    const std::vector<int32_t> merged(out.begin() + static_cast<ptrdiff_t>(first), out.end());
    out.resize(first);
    for (const int32_t symbol : merged) {
        if (symbol < vocab_size())
            out.push_back(symbol);
        else
            spell(bare_characters_[static_cast<size_t>(symbol - vocab_size())], out);
    }
}

// An unused piece may be merged further, but where it is left it falls apart again into the pair that came into
// question for it last, anywhere in the text: so nothing can be cut into words here.
void SentencePieceBpe::encode_with_unused(std::string_view text, std::vector<int32_t>& out) const {
    std::vector<int32_t> symbols, merged;
    symbols_of(text, symbols);
    std::unordered_map<int32_t, std::pair<int32_t, int32_t>> parts;
    const auto is_unused = [&](int32_t symbol) {
        return symbol < vocab_size() && pieces_[static_cast<size_t>(symbol)].type == Type::unused;
    };
    merges_.apply(symbols, merged, [&](int32_t left, int32_t right, int32_t id) {
        if (is_unused(id)) parts[id] = {left, right};
    });
    std::reverse(merged.begin(), merged.end());  // a stack, its top the next symbol
    while (!merged.empty()) {
        const int32_t symbol = merged.back();
        merged.pop_back();
        const auto found = is_unused(symbol) ? parts.find(symbol) : parts.end();
        if (found != parts.end()) {
            merged.insert(merged.end(), {found->second.second, found->second.first});
        } else if (symbol < vocab_size()) {
            out.push_back(symbol);
        } else {
            spell(bare_characters_[static_cast<size_t>(symbol - vocab_size())], out);
        }
    }
}

std::string SentencePieceBpe::token_text(int32_t id) const {
    static_cast<void>(piece(0, id));
    return text_of_[static_cast<size_t>(id)];
}

std::string SentencePieceBpe::decode(std::span<const int32_t> ids) const {
    std::string text;
    const bool has_dummy = rules_.add_dummy_prefix || rules_.remove_extra_whitespaces;
    bool at_begin = has_dummy;
    for (size_t i = 0; i < ids.size(); ++i) {
        const SentencePiece& piece = this->piece(i, ids[i]);
        std::string_view part = text_of_[static_cast<size_t>(ids[i])];
        if (at_begin && piece.type != Type::control && piece.text.starts_with(space_symbol)) {
            part.remove_prefix(1);
            at_begin = rules_.remove_extra_whitespaces;
        }
        text += part;
        if (!part.empty()) at_begin = has_dummy && piece.type == Type::control;
    }
    return text;
}

}  // namespace templar
