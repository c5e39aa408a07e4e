// The k largest magnitudes of one chunk.
#pragma once

#include "kernels/cpu/isa/table.h"

namespace templar::TEMPLAR_ISA {

constexpr int max_chunk_size = 64 * 64;
constexpr int peak_groups = 64;

// The bits of |x|: ordered like the magnitudes (NaN above infinity).
inline int32_t magnitude_bits(float x) {
    return __builtin_bit_cast(int32_t, x) & 0x7fffffff;
}

class TopK {
  public:
    // indices[0..k) = the indices of the k largest |values|, ascending; of equal ones the lower indices.
    // peaks[g] = the largest magnitude_bits of the values whose index is g modulo peak_groups (0 for none).
    void select(int32_t* indices, const float* values, int size, int k, const int32_t* peaks);

  private:
    // Candidates: at most all values, and room for the last vector.
    alignas(64) int32_t magnitude_[max_chunk_size + peak_groups];
    int32_t index_[max_chunk_size + peak_groups];
};

}  // namespace templar::TEMPLAR_ISA
