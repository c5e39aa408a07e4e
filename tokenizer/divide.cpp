#include "tokenizer/divide.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

namespace {

// The first token of [from, to) that is wanted; `to` when there is none.
template <class Wanted>
int64_t find_token(TokenReader& tokens, int64_t from, int64_t to, const Wanted& wanted) {
    for (int64_t at = from; at < to;) {
        const std::vector<int32_t> ids = tokens.run(at, to);
        const auto found = std::find_if(ids.begin(), ids.end(), wanted);
        at += found - ids.begin();
        if (found != ids.end()) return at;
    }
    return to;
}

}  // namespace

int64_t heldout_start(TokenReader& tokens, const Tokenizer& tokenizer, Separator separator, double share) {
    const int32_t begin = begins_with_token(separator) ? tokenizer.begin_token() : -1;
    const int32_t end = ends_with_token(separator) ? tokenizer.end_token() : -1;
    const int64_t all = tokens.tokens();
    const auto wanted = std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(all)));
    const int64_t first = std::max<int64_t>(all - wanted, 1);

    const auto find = [&](int64_t from, int64_t to, const auto& is) { return find_token(tokens, from, to, is); };
    // The first document that begins at or after `first`; none: `all`.
    int64_t document = all;
    if (begin >= 0)
        document = find(first, all, [&](int32_t id) { return id == begin; });
    else if (end >= 0)
        document = find(first - 1, all - 1, [&](int32_t id) { return id == end; }) + 1;
    const auto choose = [&] {
        if (document < all && 2 * (all - document) >= wanted) return document;
        std::vector<bool> ends_line;
        for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
            ends_line.push_back(tokenizer.token_text(id).ends_with('\n'));
        const int64_t last = document - 1;
        const int64_t line = find(first - 1, last, [&](int32_t id) {
            return id < std::ssize(ends_line) && ends_line[static_cast<size_t>(id)];
        });
        if (line < last) return line + 1;
        return document < all ? document : first;
    };
    const auto is_text = [&](int32_t id) { return id != begin && id != end; };
    const int64_t start = all > 1 ? choose() : all;
    const bool no_train = all < 2 || find(0, start, is_text) == start;
    if (no_train || find(start, all, is_text) == all)
        fail(ExitCode::input,
             "cannot hold out {} of {} tokens: the {} part would be empty. Give more text, or another heldout share",
             share, all, no_train ? "train" : "heldout");
    return start;
}

std::vector<ShardInfo> copy_heldout(const std::filesystem::path& folder, const TokenLayout& layout,
                                    const std::vector<ShardInfo>& files, int64_t start) {
    TokenReader tokens(folder, layout, files);
    const auto [index, kept] = tokens.place(start);
    std::vector<ShardInfo> divided(files.begin(), files.begin() + static_cast<ptrdiff_t>(index));
    if (kept > 0) {
        ShardInfo cut = files[index];
        cut.tokens = kept;
        cut.hash = hash_when_cut(folder / cut.file, layout, kept);
        divided.push_back(cut);
    }
    TokenFiles heldout(folder, layout, "heldout");
    for (int64_t at = start; at < tokens.tokens();) {
        const ByteSpan run = tokens.bytes_from(at);
        heldout.append(run);
        at += std::ssize(run) / layout.width();
    }
    heldout.finish();
    divided.insert(divided.end(), heldout.finished().begin(), heldout.finished().end());
    return divided;
}

void cut_train(const std::filesystem::path& folder, const TokenLayout& layout, const std::vector<ShardInfo>& files,
               const std::vector<ShardInfo>& divided) {
    for (size_t i = 0; i < files.size(); ++i) {
        const bool is_train = i < divided.size() && divided[i].split == "train";
        std::error_code none;
        if (!is_train)
            std::filesystem::remove(folder / files[i].file, none);
        else if (divided[i].tokens < files[i].tokens)
            cut_file(folder / files[i].file, layout, divided[i].tokens);
    }
}

}  // namespace templar
