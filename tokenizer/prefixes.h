// Strings that stand for themselves wherever they occur in a text, before anything else is made of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace templar {

class Prefixes {
  public:
    void add(std::string text, int32_t id) {
        auto& same_first = by_first_byte_[static_cast<uint8_t>(text.at(0))];
        const auto shorter = std::find_if(same_first.begin(), same_first.end(),
                                          [&](const auto& other) { return other.first.size() < text.size(); });
        same_first.emplace(shorter, std::move(text), id);
        ++count_;
    }
    bool empty() const { return count_ == 0; }

    // The longest one that `text` (not empty) begins with: its length and id; length 0 when there is none.
    std::pair<size_t, int32_t> longest(std::string_view text) const {
        for (const auto& [prefix, id] : by_first_byte_[static_cast<uint8_t>(text[0])])
            if (text.starts_with(prefix)) return {prefix.size(), id};
        return {0, -1};
    }

    // Calls stretch(text) and found(id) for what lies between and for what is found, in order; the leftmost and longest
    // wins.
    template <class Stretch, class Found>
    void split(std::string_view text, Stretch&& stretch, Found&& found) const {
        size_t begin = 0;
        for (size_t at = 0; at < text.size() && count_ > 0;) {
            const auto [length, id] = longest(text.substr(at));
            if (length == 0) {
                ++at;
                continue;
            }
            if (at > begin) stretch(text.substr(begin, at - begin));
            found(id);
            begin = at += length;
        }
        if (begin < text.size()) stretch(text.substr(begin));
    }

  private:
    std::array<std::vector<std::pair<std::string, int32_t>>, 256> by_first_byte_;  // longest first
    size_t count_ = 0;
};

}  // namespace templar
