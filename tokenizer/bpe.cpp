#include "tokenizer/bpe.h"

#include "base/error.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_cache.h"

#include <algorithm>
#include <unordered_map>

namespace templar {

ByteLevelBpe::Parts ByteLevelBpe::with_end_token(std::vector<std::string> tokens,
                                           std::vector<std::pair<int32_t, int32_t>> merges,
                                           const std::string& end_token) {
    Parts parts{std::move(tokens), std::move(merges), {}, -1};
    if (end_token.empty()) return parts;
    const auto found = std::find(parts.tokens.rbegin(), parts.tokens.rend(), end_token);
    if (found == parts.tokens.rend())
        fail(ExitCode::input, "tokenizer: the end token '{}' is not in the vocabulary", end_token);
    parts.end_token = static_cast<int32_t>(parts.tokens.rend() - found - 1);
    if (find_invalid_utf8(end_token) != std::string::npos)
        fail(ExitCode::input, "tokenizer: the end token is not valid UTF-8");
    parts.special = {parts.end_token};
    return parts;
}

ByteLevelBpe::ByteLevelBpe(std::vector<std::string> tokens, std::vector<std::pair<int32_t, int32_t>> merges,
                     std::string end_token)
    : ByteLevelBpe(with_end_token(std::move(tokens), std::move(merges), end_token), "tokenizer") {}

ByteLevelBpe::ByteLevelBpe(Parts parts, std::string_view what)
    : tokens_(std::move(parts.tokens)),
      merges_(std::move(parts.merges)),
      special_(std::move(parts.special)),
      end_token_(parts.end_token) {
    const auto count = static_cast<int32_t>(tokens_.size());
    std::vector<bool> is_special(tokens_.size());
    for (const int32_t id : special_) is_special[static_cast<size_t>(id)] = true;

    std::unordered_map<std::string_view, int32_t> id_of;  // special tokens left out: no merge may make one
    for (int32_t id = 0; id < count; ++id) {
        const std::string& token = tokens_[static_cast<size_t>(id)];
        if (token.empty()) fail(ExitCode::input, "{}: token {} is empty", what, id);
        if (is_special[static_cast<size_t>(id)]) continue;
        const auto [other, is_new] = id_of.emplace(token, id);
        if (!is_new)
            fail(ExitCode::input, "{}: tokens {} and {} are the same bytes", what, other->second, id);
    }
    for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(static_cast<uint8_t>(byte));
        const auto found = id_of.find(std::string_view(&c, 1));
        if (found == id_of.end())
            fail(ExitCode::input,
                 "{}: no token for the single byte 0x{:02x}, expected one for each of the 256", what, byte);
        byte_token_[static_cast<size_t>(byte)] = found->second;
    }
    std::string joined;
    for (size_t rank = 0; rank < merges_.size(); ++rank) {
        const auto [left, right] = merges_[rank];
        if (left < 0 || left >= count || right < 0 || right >= count ||
            is_special[static_cast<size_t>(left)] || is_special[static_cast<size_t>(right)])
            fail(ExitCode::input,
                 "{}: merge {} joins ids {} and {}, expected two of the {} tokens that are not special", what,
                 rank, left, right, count);
        joined = tokens_[static_cast<size_t>(left)];
        joined += tokens_[static_cast<size_t>(right)];
        const auto made = id_of.find(joined);
        if (made == id_of.end())
            fail(ExitCode::input,
                 "{}: merge {} joins ids {} and {} into bytes that are not in the vocabulary", what, rank,
                 left, right);
        if (!merge_of_.add(left, right, {static_cast<int32_t>(rank), made->second}))
            fail(ExitCode::input, "{}: merge {} repeats an earlier one (ids {} and {})", what, rank, left,
                 right);
    }
}

void ByteLevelBpe::encode(std::string_view text, std::vector<int32_t>& out) const {
    WordCache cache(text.size());
    std::vector<int32_t> symbols;
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
        end = pretoken_end(text, begin);
        cache.append(text.substr(begin, end - begin), out, [&](std::string_view word, std::vector<int32_t>& ids) {
            symbols.clear();
            for (const char c : word) symbols.push_back(byte_token_[static_cast<uint8_t>(c)]);
            merge_of_.apply(symbols, ids);
        });
    }
}

size_t ByteLevelBpe::cut(std::string_view text, size_t from) const {
    const auto is_alphanumeric = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    };
    constexpr std::string_view white_space = " \t\r\n\v\f";
    for (size_t at = text.find_first_of(white_space, from); at < text.size();
         at = text.find_first_of(white_space, at + 1))
        if (at > 0 && is_alphanumeric(text[at - 1])) return at;
    return text.size();
}

std::string ByteLevelBpe::decode(std::span<const int32_t> ids) const {
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocab_size())
            fail(ExitCode::input, "token {} is {}, expected 0 to {}: was it made with another tokenizer?", i,
                 ids[i], vocab_size() - 1);
        text += tokens_[static_cast<size_t>(ids[i])];
    }
    return text;
}

}  // namespace templar
