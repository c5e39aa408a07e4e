#include "tokenizer/bpe.h"

#include "base/error.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/utf8.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <queue>
#include <unordered_map>

namespace templar {

namespace {

// Up to this many bytes a pre-token is merged by scanning an array; beyond, with a heap, so that a megabyte
// without a space does not take quadratic time.
constexpr size_t short_pretoken = 48;

uint64_t hash_bytes(std::string_view bytes) {
    uint64_t hash = bytes.size();
    const auto mix = [&](uint64_t word) {
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    };
    while (bytes.size() >= 8) {
        uint64_t word;
        std::memcpy(&word, bytes.data(), 8);
        mix(word);
        bytes.remove_prefix(8);
    }
    uint64_t tail = 0;
    for (const char c : bytes) tail = tail << 8 | static_cast<uint8_t>(c);
    mix(tail);
    return hash;
}

// Where a pre-token was last seen in this call's text, and where its ids lie in this call's output.
struct Seen {
    const char* piece = nullptr;
    uint32_t length = 0;
    uint32_t count = 0;
    size_t ids = 0;
};

}  // namespace

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
        if (!merge_of_.insert(left, right, {static_cast<int32_t>(rank), made->second}).second)
            fail(ExitCode::input, "{}: merge {} repeats an earlier one (ids {} and {})", what, rank, left,
                 right);
    }
}

void ByteLevelBpe::encode(std::string_view text, std::vector<int32_t>& out) const {
    // Words repeat: each is looked up among those last seen before it is merged. The table lives for one
    // call, so encoding needs no lock, and is sized by the text, so that short texts stay cheap.
    std::vector<Seen> table(std::bit_ceil(std::clamp<size_t>(text.size() / 32, 16, 1 << 14)));
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
        end = pretoken_end(text, begin);
        const std::string_view piece = text.substr(begin, end - begin);
        if (piece.size() > short_pretoken) {
            encode_long_pretoken(piece, out);
            continue;
        }
        Seen& seen = table[hash_bytes(piece) & (table.size() - 1)];
        const size_t ids = out.size();
        if (seen.length == piece.size() && std::memcmp(seen.piece, piece.data(), piece.size()) == 0) {
            out.resize(ids + seen.count);
            std::copy_n(out.begin() + static_cast<ptrdiff_t>(seen.ids), seen.count,
                        out.begin() + static_cast<ptrdiff_t>(ids));
        } else {
            encode_pretoken(piece, out);
        }
        seen = {piece.data(), static_cast<uint32_t>(piece.size()), static_cast<uint32_t>(out.size() - ids),
                ids};
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

// Until no merge applies: the merge of lowest rank, leftmost first.
void ByteLevelBpe::encode_pretoken(std::string_view piece, std::vector<int32_t>& out) const {
    constexpr Merge none{std::numeric_limits<int32_t>::max(), -1};
    std::array<int32_t, short_pretoken> ids;
    std::array<Merge, short_pretoken> merges;  // of ids[i] with ids[i + 1]
    size_t count = piece.size();
    const auto look_up = [&](size_t i) {
        const Merge* merge = merge_of_.find(ids[i], ids[i + 1]);
        merges[i] = merge ? *merge : none;
    };
    for (size_t i = 0; i < count; ++i) ids[i] = byte_token_[static_cast<uint8_t>(piece[i])];
    for (size_t i = 0; i + 1 < count; ++i) look_up(i);
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; ++i)
            if (merges[i].rank < merges[best].rank) best = i;
        if (merges[best].rank == none.rank) break;
        ids[best] = merges[best].id;
        std::copy(ids.begin() + static_cast<ptrdiff_t>(best) + 2, ids.begin() + static_cast<ptrdiff_t>(count),
                  ids.begin() + static_cast<ptrdiff_t>(best) + 1);
        std::copy(merges.begin() + static_cast<ptrdiff_t>(best) + 1,
                  merges.begin() + static_cast<ptrdiff_t>(count) - 1,
                  merges.begin() + static_cast<ptrdiff_t>(best));
        --count;
        if (best > 0) look_up(best - 1);
        if (best + 1 < count) look_up(best);
    }
    out.insert(out.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count));
}

// The same rule in n·log(n): a heap of candidate merges over a linked list of tokens. A candidate whose
// tokens have changed since is dropped when it comes up.
void ByteLevelBpe::encode_long_pretoken(std::string_view piece, std::vector<int32_t>& out) const {
    struct Link {
        int32_t id;  // -1: merged into an earlier one
        int64_t previous, next;
    };
    struct Candidate {
        int32_t rank;
        int64_t at;
        bool operator>(const Candidate& other) const {
            return rank != other.rank ? rank > other.rank : at > other.at;
        }
    };
    const auto count = static_cast<int64_t>(piece.size());
    std::vector<Link> links(piece.size());
    for (size_t i = 0; i < links.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        links[i] = {byte_token_[static_cast<uint8_t>(piece[i])], at - 1, at + 1 < count ? at + 1 : -1};
    }
    const auto link = [&](int64_t at) -> Link& { return links[static_cast<size_t>(at)]; };
    const auto merge_at = [&](int64_t at) -> const Merge* {
        if (link(at).id < 0 || link(at).next < 0) return nullptr;
        return merge_of_.find(link(at).id, link(link(at).next).id);
    };
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
    const auto offer = [&](int64_t at) {
        if (const Merge* merge = merge_at(at)) candidates.push({merge->rank, at});
    };
    for (int64_t at = 0; at < count; ++at) offer(at);
    while (!candidates.empty()) {
        const Candidate candidate = candidates.top();
        candidates.pop();
        const Merge* merge = merge_at(candidate.at);
        if (!merge || merge->rank != candidate.rank) continue;
        Link& left = link(candidate.at);
        Link& right = link(left.next);
        left.id = merge->id;
        right.id = -1;
        left.next = right.next;
        if (left.next >= 0) link(left.next).previous = candidate.at;
        if (left.previous >= 0) offer(left.previous);
        offer(candidate.at);
    }
    for (int64_t at = 0; at >= 0; at = link(at).next) out.push_back(link(at).id);
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
