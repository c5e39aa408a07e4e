// How far two results are apart, as tests of the engine state it.
#pragma once

#include <cmath>
#include <span>

namespace templar::test {

// |a - b| / |b|, both of one length.
inline double distance(std::span<const float> a, std::span<const float> b) {
    double squares = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        squares += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
        size += double(b[i]) * b[i];
    }
    return std::sqrt(squares / size);
}

}  // namespace templar::test
