// A hash map from pairs of token ids, for the inner loops of encoding and training: open addressing, no
// deletion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace templar {

template <class Value>
class PairMap {
  public:
    // The value of (left, right), nullptr when there is none.
    const Value* find(int32_t left, int32_t right) const {
        if (slots_.empty()) return nullptr;
        const Slot& slot = slots_[locate(key_of(left, right))];
        return slot.key == empty ? nullptr : &slot.value;
    }
    // Inserts unless the pair is there; returns the pair's value and whether it is new.
    std::pair<Value*, bool> insert(int32_t left, int32_t right, const Value& value) {
        if (2 * (size_ + 1) > slots_.size()) grow();
        const uint64_t key = key_of(left, right);
        Slot& slot = slots_[locate(key)];
        if (slot.key == key) return {&slot.value, false};
        slot = {key, value};
        ++size_;
        return {&slot.value, true};
    }

  private:
    static constexpr uint64_t empty = ~uint64_t{0};  // ids are not negative, so no pair has this key
    struct Slot {
        uint64_t key = empty;
        Value value{};
    };

    static uint64_t key_of(int32_t left, int32_t right) {
        return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
    }
    size_t locate(uint64_t key) const {
        size_t at = (key * 0x9e3779b97f4a7c15u) >> shift_;
        while (slots_[at].key != key && slots_[at].key != empty) at = (at + 1) & (slots_.size() - 1);
        return at;
    }
    void grow() {
        std::vector<Slot> old(slots_.empty() ? 16 : 2 * slots_.size());
        old.swap(slots_);
        shift_ = 64 - __builtin_ctzll(slots_.size());
        for (const Slot& slot : old)
            if (slot.key != empty) slots_[locate(slot.key)] = slot;
    }

    std::vector<Slot> slots_;
    size_t size_ = 0;
    int shift_ = 60;
};

}  // namespace templar
