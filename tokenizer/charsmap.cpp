#include "tokenizer/charsmap.h"

#include "base/error.h"

namespace templar {

namespace {

// A unit of the double array, as Darts-clone packs it: the byte that leads to it, where its children are, whether one
// of them is a leaf; a leaf holds a value.
uint32_t label(uint32_t unit) {
    return unit & 0x800000ffu;  // of a leaf no byte's
}
uint32_t offset(uint32_t unit) {
    return (unit >> 10) << ((unit & 0x200u) >> 6);
}
bool has_leaf(uint32_t unit) {
    return (unit >> 8 & 1) != 0;
}
uint32_t value(uint32_t leaf) {
    return leaf & 0x7fffffffu;
}

}  // namespace

Charsmap::Charsmap(ByteSpan file, std::string_view what) : bytes_(as_text(file)) {
    ByteReader reader(file, what);
    const auto size = reader.get<uint32_t>();
    if (size == 0 || size % sizeof(uint32_t) != 0 || size > reader.remaining())
        fail(ExitCode::input, "{}: a table of {} bytes where {} are left, expected whole units of 4 bytes", what, size,
             reader.remaining());
    units_.resize(size / sizeof(uint32_t));
    for (uint32_t& unit : units_) unit = reader.get<uint32_t>();
    replacements_ = as_text(reader.get_bytes(reader.remaining()));
    find_bytes();
}

// Every unit is visited once, also where a broken table leads back.
void Charsmap::find_bytes() {
    std::vector<bool> visited(units_.size());
    std::vector<uint32_t> open{0};
    visited[0] = true;
    while (!open.empty()) {
        const uint32_t node = open.back(), first = node ^ offset(units_[node]);
        open.pop_back();
        for (uint32_t byte = 0; byte < 256; ++byte) {
            const uint32_t child = first ^ byte;
            if (child >= units_.size() || label(units_[child]) != byte) continue;
            has_.set(byte);
            if (node != 0) has_behind_.set(byte);
            if (visited[child]) continue;
            visited[child] = true;
            open.push_back(child);
        }
    }
}

Charsmap::Rule Charsmap::longest(std::string_view text) const {
    constexpr size_t most_bytes = 1024;  // no rule is as long; a broken table may lead round in a circle
    Rule rule;
    if (empty()) return rule;
    text = text.substr(0, most_bytes);
    uint32_t at = offset(units_[0]);
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<uint8_t>(text[i]);
        at ^= byte;
        if (at >= units_.size() || label(units_[at]) != byte) break;
        const uint32_t unit = units_[at];
        at ^= offset(unit);
        if (!has_leaf(unit) || at >= units_.size()) continue;
        const size_t begin = value(units_[at]), end = replacements_.find('\0', begin);
        if (begin < replacements_.size() && end != replacements_.npos)
            rule = {i + 1, std::string_view(replacements_).substr(begin, end - begin)};
    }
    return rule;
}

}  // namespace templar
