// Well-formed payload sections drawn from integers, for tests of what is done with payloads.
#pragma once

#include "base/random.h"
#include "kernels/sparse.h"

#include <algorithm>
#include <vector>

namespace templar {

inline void put_packed(uint8_t* section, int64_t position, int bits, uint32_t value) {
    for (int i = 0; i < bits; ++i) {
        const int64_t bit = position * bits + i;
        section[bit / 8] = static_cast<uint8_t>(section[bit / 8] | (value >> i & 1) << bit % 8);
    }
}

// Fills the sections, all zero before: k indices per chunk without repetition, any code, scale bytes with
// exponents below `exponents`; one chunk in `reserved` (0: none, 1: all) keeps the reserved scale byte 0.
inline void fill_sections(const SparseOut& out, const ChunkGrid& grid, CounterRng& rng, uint32_t reserved = 7,
                          uint32_t exponents = 32) {
    const auto [k, code_bits, index_bits] = out.format;
    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        std::vector<int32_t> indices(static_cast<size_t>(grid.chunk_size()));
        for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int32_t>(i);
        const bool zero = reserved != 0 && rng.below(reserved) == 0;
        if (!zero) {
            for (int32_t i = 0; i < k; ++i) std::swap(indices[i], indices[i + rng.below(indices.size() - i)]);
            std::sort(indices.begin(), indices.begin() + k);
            out.scales[chunk] = static_cast<uint8_t>(1 + rng.below(8 * exponents - 1));
        }
        for (int32_t i = 0; i < k; ++i) {
            const uint32_t code = zero ? 0 : static_cast<uint32_t>(rng.below(uint64_t{1} << code_bits));
            put_packed(out.codes, chunk * k + i, code_bits, code);
            put_packed(out.indices, chunk * k + i, index_bits, static_cast<uint32_t>(indices[i]));
        }
    }
}

// One tensor's sections with their own memory.
class RandomSparse {
  public:
    RandomSparse(const ChunkGrid& grid, CodeFormat format, CounterRng& rng, uint32_t reserved = 7,
                 uint32_t exponents = 32)
        : format_(format), chunks_(grid.chunks()) {
        // Each section in a vector of its own length: an address sanitizer sees a read of one byte too many.
        scales_.resize(chunks_);
        codes_.resize(packed_bytes(chunks_ * format.k, format.code_bits));
        indices_.resize(packed_bytes(chunks_ * format.k, format.index_bits));
        fill_sections({base_.data(), scales_.data(), codes_.data(), indices_.data(), format_}, grid, rng,
                      reserved, exponents);
    }
    SparseIn in() const { return {base_.data(), scales_.data(), codes_.data(), indices_.data(), format_}; }

  private:
    CodeFormat format_;
    int64_t chunks_;
    std::vector<uint8_t> base_ = {0, 0}, scales_, codes_, indices_;
};

}  // namespace templar
