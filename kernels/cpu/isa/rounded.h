// Storing fp32 results in a tensor of either compute type.
#pragma once

#include "kernels/bf16.h"
#include "kernels/tensor.h"

#include <cstring>

namespace templar::TEMPLAR_ISA {

// Elements [first, first + count) of `out`, fp32 or bf16 (rounded to nearest, ties to even) <- values.
[[gnu::always_inline]] inline void store_rounded(const Tensor& out, int64_t first, const float* values, int64_t count) {
    if (out.dtype == DType::f32) {
        std::memcpy(static_cast<float*>(out.data) + first, values, sizeof(float) * count);
        return;
    }
    bf16* const rounded = static_cast<bf16*>(out.data) + first;
    for (int64_t i = 0; i < count; ++i) rounded[i] = to_bf16(values[i]);
}

}  // namespace templar::TEMPLAR_ISA
