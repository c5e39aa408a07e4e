#include "tokenizer/bpe.h"

#include "base/error.h"
#include "tokenizer/nfc.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_cache.h"

#include <algorithm>
#include <unordered_map>

namespace templar {

ByteLevelBpe::Parts ByteLevelBpe::with_end_token(std::vector<std::string> tokens,
                                                 std::vector<std::pair<int32_t, int32_t>> merges,
                                                 const std::string& end_token) {
    Parts parts;
    parts.tokens = std::move(tokens);
    parts.merges = std::move(merges);
    if (end_token.empty()) return parts;
    const auto found = std::find(parts.tokens.rbegin(), parts.tokens.rend(), end_token);
    if (found == parts.tokens.rend())
        fail(ExitCode::input, "tokenizer: the end token '{}' is not in the vocabulary", end_token);
    parts.end_token = static_cast<int32_t>(parts.tokens.rend() - found - 1);
    if (find_invalid_utf8(end_token) != std::string::npos)
        fail(ExitCode::input, "tokenizer: the end token is not valid UTF-8");
    parts.added = {parts.end_token};
    return parts;
}

ByteLevelBpe::ByteLevelBpe(std::vector<std::string> tokens, std::vector<std::pair<int32_t, int32_t>> merges,
                           std::string end_token)
    : ByteLevelBpe(with_end_token(std::move(tokens), std::move(merges), end_token), "tokenizer") {}

ByteLevelBpe::ByteLevelBpe(Parts parts, std::string_view what)
    : tokens_(std::move(parts.tokens)),
      merges_(std::move(parts.merges)),
      added_(std::move(parts.added)),
      searched_ids_(std::move(parts.searched)),
      begin_token_(parts.begin_token),
      end_token_(parts.end_token),
      split_(parts.split),
      nfc_(parts.nfc),
      ignore_merges_(parts.ignore_merges) {
    for (const int32_t id : searched_ids_) searched_.add(tokens_[static_cast<size_t>(id)], id);
    const IdOf id_of = index_tokens(what);
    add_merges(id_of, what);
    add_whole_words(id_of);
}

// Added tokens are left out: no merge may make one.
ByteLevelBpe::IdOf ByteLevelBpe::index_tokens(std::string_view what) {
    std::vector<bool> is_added(tokens_.size());
    for (const int32_t id : added_) is_added[static_cast<size_t>(id)] = true;
    IdOf id_of;
    for (size_t i = 0; i < tokens_.size(); ++i) {
        const auto id = static_cast<int32_t>(i);
        if (tokens_[i].empty()) fail(ExitCode::input, "{}: token {} is empty", what, id);
        if (is_added[i]) continue;
        const auto [other, is_new] = id_of.emplace(tokens_[i], id);
        if (!is_new) fail(ExitCode::input, "{}: tokens {} and {} are the same bytes", what, other->second, id);
    }
    for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(static_cast<uint8_t>(byte));
        const auto found = id_of.find(std::string_view(&c, 1));
        if (found == id_of.end())
            fail(ExitCode::input, "{}: no token for the single byte 0x{:02x}, expected one for each of the 256", what,
                 byte);
        byte_token_[static_cast<size_t>(byte)] = found->second;
    }
    return id_of;
}

void ByteLevelBpe::add_merges(const IdOf& id_of, std::string_view what) {
    const auto bytes_of = [&](int32_t id) -> std::string_view {
        if (id < 0 || id >= vocab_size()) return {};
        const std::string& bytes = tokens_[static_cast<size_t>(id)];
        const auto found = id_of.find(bytes);
        return found != id_of.end() && found->second == id ? bytes : std::string_view();
    };
    for (size_t rank = 0; rank < merges_.size(); ++rank) {
        const auto [left, right] = merges_[rank];
        if (bytes_of(left).empty() || bytes_of(right).empty())
            fail(ExitCode::input,
                 "{}: merge {} joins ids {} and {}, expected two of the {} tokens that are not special", what, rank,
                 left, right, vocab_size());
        const auto made = id_of.find(std::string(bytes_of(left)).append(bytes_of(right)));
        if (made == id_of.end())
            fail(ExitCode::input, "{}: merge {} joins ids {} and {} into bytes that are not in the vocabulary", what,
                 rank, left, right);
        if (!merge_of_.add(left, right, {static_cast<int32_t>(rank), made->second}))
            fail(ExitCode::input, "{}: merge {} repeats an earlier one (ids {} and {})", what, rank, left, right);
    }
}

// Most words of a text are one token: these are found at once.
void ByteLevelBpe::add_whole_words(const IdOf& id_of) {
    std::vector<int32_t> symbols, ids;
    for (const auto& [bytes, id] : id_of) {
        ids.clear();
        if (!ignore_merges_) encode_word(bytes, symbols, ids);
        if (ignore_merges_ || (ids.size() == 1 && ids[0] == id)) whole_words_.add(bytes, id);
    }
}

void ByteLevelBpe::encode(std::string_view text, std::vector<int32_t>& out) const {
    searched_.split(
        text, [&](std::string_view stretch) { encode_stretch(stretch, out); }, [&](int32_t id) { out.push_back(id); });
}

void ByteLevelBpe::encode_stretch(std::string_view text, std::vector<int32_t>& out) const {
    std::string normalized;
    if (nfc_) text = to_nfc(text, normalized);
    WordCache cache(text.size());
    std::vector<int32_t> symbols;
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
        end = pretoken_end(text, begin, split_);
        const std::string_view word = text.substr(begin, end - begin);
        if (const int32_t id = whole_words_.find(word); id >= 0)
            out.push_back(id);
        else
            cache.append(word, out, [&](std::string_view word, auto& ids) { encode_word(word, symbols, ids); });
    }
}

void ByteLevelBpe::encode_word(std::string_view word, std::vector<int32_t>& symbols, std::vector<int32_t>& out) const {
    symbols.clear();
    for (const char c : word) symbols.push_back(byte_token_[static_cast<uint8_t>(c)]);
    merge_of_.apply(symbols, out);
}

size_t ByteLevelBpe::cut(std::string_view text, size_t from) const {
    const auto is_alphanumeric = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    };
    constexpr std::string_view white_space = " \t\r\n\v\f";
    if (!searched_.empty()) return text.size();  // these may reach over a space
    for (size_t at = text.find_first_of(white_space, from); at < text.size();
         at = text.find_first_of(white_space, at + 1))
        if (at > 0 && is_alphanumeric(text[at - 1])) return at;
    return text.size();
}

std::string ByteLevelBpe::decode(std::span<const int32_t> ids) const {
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocab_size())
            fail(ExitCode::input, "token {} is {}, expected 0 to {}: was it made with another tokenizer?", i, ids[i],
                 vocab_size() - 1);
        text += tokens_[static_cast<size_t>(ids[i])];
    }
    return text;
}

}  // namespace templar
