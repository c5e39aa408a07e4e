// What a bucket accepts as a key, the same for every kind of bucket.
#pragma once

#include <string_view>

namespace templar {

inline constexpr size_t max_key_bytes = 512;

// One segment of a key: [A-Za-z0-9._-]+, not starting with '.'.
bool valid_key_segment(std::string_view segment);
// Throws Error(input) that says what is wrong with the key.
void check_key(std::string_view key);
// The start of some key: empty, or a key, or a key whose last segment is cut short, even to nothing.
void check_key_prefix(std::string_view prefix);

}  // namespace templar
