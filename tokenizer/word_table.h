// Words that are one token, by their bytes: most of a text.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace templar {

inline uint64_t hash_word(std::string_view bytes) {
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

class WordTable {
  public:
    // `word` is copied; it must not be there yet.
    void add(std::string_view word, int32_t id) {
        if (2 * (size_ + 1) > slots_.size()) grow();
        slots_[locate(word)] = {bytes_.size(), static_cast<uint32_t>(word.size()), id};
        bytes_.insert(bytes_.end(), word.begin(), word.end());
        ++size_;
    }
    // -1 when it is not there.
    int32_t find(std::string_view word) const { return slots_.empty() ? -1 : slots_[locate(word)].id; }

  private:
    struct Slot {
        size_t at = 0;
        uint32_t length = 0;
        int32_t id = -1;
    };

    size_t locate(std::string_view word) const {
        size_t at = hash_word(word) & (slots_.size() - 1);
        while (slots_[at].id >= 0 && (slots_[at].length != word.size() ||
                                      std::memcmp(bytes_.data() + slots_[at].at, word.data(), word.size()) != 0))
            at = (at + 1) & (slots_.size() - 1);
        return at;
    }
    void grow() {
        std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size());
        old.swap(slots_);
        for (const Slot& slot : old)
            if (slot.id >= 0) slots_[locate({bytes_.data() + slot.at, slot.length})] = slot;
    }

    std::vector<Slot> slots_;
    std::vector<char> bytes_;
    size_t size_ = 0;
};

}  // namespace templar
