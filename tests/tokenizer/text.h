// Text for the tokenizer tests, made by a generator so that the tests need no files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace templar::testing {

// xorshift64*: small, and the same everywhere.
class Draw {
  public:
    explicit Draw(uint64_t seed) : state_(seed) {}
    uint64_t below(uint64_t bound) {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return (state_ * 0x2545f4914f6cdd1du >> 16) % bound;
    }

  private:
    uint64_t state_;
};

// Words of some syllables, in lines and paragraphs; short words are frequent.
inline std::string sample_text(size_t bytes, uint64_t seed = 1) {
    static const std::vector<std::string> syllables = {"ba",  "ko",  "the", "in", "ra", "é",
                                                       "sto", "ing", "мир", "qu", "ea", "nn"};
    Draw draw(seed);
    std::string text;
    while (text.size() < bytes) {
        for (uint64_t i = 0, n = 1 + draw.below(1 + draw.below(4)); i < n; ++i)
            text += syllables[draw.below(1 + draw.below(syllables.size()))];
        const uint64_t end = draw.below(16);
        text += end == 0   ? ".\n"
                : end == 3 ? ".\n\n\n"
                : end == 4 ? "\n\t  "
                : end == 1 ? "'s "
                : end == 2 ? ", 12 "
                           : " ";
    }
    return text;
}

inline std::string random_bytes(size_t bytes, uint64_t seed) {
    Draw draw(seed);
    std::string text;
    for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(static_cast<uint8_t>(draw.below(256)));
    return text;
}

}  // namespace templar::testing
