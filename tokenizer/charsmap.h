// sentencepiece's precompiled_charsmap: how a model rewrites text before it looks for pieces (NFKC, small letters, …).
#pragma once

#include "base/bytes.h"

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

class Charsmap {
  public:
    Charsmap() = default;  // rewrites nothing
    // u32 size in bytes of a double array (Darts-clone), its u32 units, then the replacements, each ended by a NUL.
    // Throws Error(input) when it is cut short. Rules that lead outside of it are none.
    Charsmap(ByteSpan file, std::string_view what);

    struct Rule {
        size_t length = 0;  // bytes of text that are replaced; 0: no rule
        std::string_view replacement{};
    };
    // The rule for the longest beginning of `text`.
    Rule longest(std::string_view text) const;
    bool empty() const { return units_.empty(); }
    // Whether a rule's text has that byte, and whether one has it behind others.
    bool has(char byte) const { return has_[static_cast<uint8_t>(byte)]; }
    bool has_behind(char byte) const { return has_behind_[static_cast<uint8_t>(byte)]; }
    std::string_view bytes() const { return bytes_; }  // as in the file

  private:
    void find_bytes();

    std::string bytes_, replacements_;
    std::vector<uint32_t> units_;
    std::bitset<256> has_, has_behind_;
};

}  // namespace templar
