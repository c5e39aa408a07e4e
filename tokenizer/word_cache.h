// Words repeat: the ids of those last seen are copied, not made again. A cache lives for one call, so that encoding
// needs no lock, and is sized by the text, so that short texts stay cheap.
#pragma once

#include "tokenizer/word_table.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace templar {

class WordCache {
  public:
    explicit WordCache(size_t text_bytes) : table_(std::bit_ceil(std::clamp<size_t>(text_bytes / 32, 16, 1 << 14))) {}

    // Appends the ids of `word`, a view into memory that outlives the cache: those given for an equal word before,
    // else what encode(word, out) appends. `out` must not lose ids between calls.
    template <class Encode>
    void append(std::string_view word, std::vector<int32_t>& out, Encode&& encode) {
        if (word.size() > longest_word) return encode(word, out);
        Seen& seen = table_[hash_word(word) & (table_.size() - 1)];
        const size_t ids = out.size();
        if (seen.length == word.size() && std::memcmp(seen.word, word.data(), word.size()) == 0) {
            out.resize(ids + seen.count);
            std::copy_n(out.data() + seen.ids, seen.count, out.data() + ids);
        } else {
            encode(word, out);
        }
        seen = {word.data(), static_cast<uint32_t>(word.size()), static_cast<uint32_t>(out.size() - ids), ids};
    }

  private:
    static constexpr size_t longest_word = 48;
    // Where a word was last seen, and where its ids lie in the output.
    struct Seen {
        const char* word = nullptr;
        uint32_t length = 0, count = 0;
        size_t ids = 0;
    };

    std::vector<Seen> table_;
};

}  // namespace templar
