// What is said of objects on their way, whoever carries them.
#pragma once

#include "base/bytes.h"

#include <functional>
#include <vector>

namespace templar {

struct ByteRange {
    int64_t begin = 0, end = 0;
    bool operator==(const ByteRange&) const = default;
};

// Looks at the bytes of an object as they arrive: called for every part that is complete, in any order, one
// call at a time, while the others still travel. Returns the ranges (within what has arrived) that are not
// what they should be: they alone are fetched again, each at most twice. Throws Error(input) to give the
// object up. Called with [0, 0) when the object changed and its reading begins again: nothing has
// arrived then.
using ArrivalCheck = std::function<std::vector<ByteRange>(ByteSpan object, ByteRange arrived)>;

// Told now and then of a transfer that takes long: key, bytes done, bytes in all.
using TransferProgress = std::function<void(const std::string& key, int64_t done, int64_t total)>;

// What travelled, counted where it is paid for. Class A: writes and lists; class B: reads and heads.
struct TransferStats {
    int64_t class_a = 0, class_b = 0, deletes = 0;  // requests, retries included
    int64_t retries = 0;
    int64_t bytes_up = 0, bytes_down = 0;  // bodies
};

inline TransferStats operator+(const TransferStats& a, const TransferStats& b) {
    return {a.class_a + b.class_a, a.class_b + b.class_b,   a.deletes + b.deletes,
            a.retries + b.retries, a.bytes_up + b.bytes_up, a.bytes_down + b.bytes_down};
}
inline TransferStats operator-(const TransferStats& a, const TransferStats& b) {
    return {a.class_a - b.class_a, a.class_b - b.class_b,   a.deletes - b.deletes,
            a.retries - b.retries, a.bytes_up - b.bytes_up, a.bytes_down - b.bytes_down};
}

}  // namespace templar
