// Rotary embedding: (x_j, x_{j+D/2}) is turned by the angle position·theta^(-2j/D) (Su et al. 2021,
// half-split pairing).
#include "kernels/cpu/isa/model_ops.h"

#include <cmath>

namespace templar::TEMPLAR_ISA {

namespace {

// direction +1 turns forward, -1 back (the transpose of a rotation is its inverse).
void rotate(Stream& stream, Tensor x, Tensor table, Tensor positions, int64_t rotated, float direction) {
    const int64_t seq = x.shape[1], heads = x.shape[2], size = x.shape[3], half = size / 2;
    const int64_t rows = x.shape[0] * seq;
    float* const data = x.f32();
    const float* const angles = table.f32();
    const int32_t* const position = positions.i32();
#pragma omp parallel for num_threads(stream.threads) if (rows > 1)
    for (int64_t i = 0; i < rows; ++i) {
        const float* const angle = angles + (position ? position[i] : i % seq) * size;  // (D/2, 2)
        for (int64_t h = 0; h < rotated; ++h) {
            float* const low = data + (i * heads + h) * size;
            float* const high = low + half;
#pragma omp simd
            for (int64_t j = 0; j < half; ++j) {
                const float cosine = angle[2 * j], sine = direction * angle[2 * j + 1];
                const float a = low[j], b = high[j];
                low[j] = a * cosine - b * sine;
                high[j] = b * cosine + a * sine;
            }
        }
    }
}

}  // namespace

void rope_table(Stream& stream, Tensor table, float theta) {
    const int64_t positions = table.shape[0], half = table.shape[1];
    float* const out = table.f32();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t p = 0; p < positions; ++p)
        for (int64_t j = 0; j < half; ++j) {
            const double angle =
                static_cast<double>(p) *
                std::pow(static_cast<double>(theta), -static_cast<double>(j) / static_cast<double>(half));
            out[(p * half + j) * 2] = static_cast<float>(std::cos(angle));
            out[(p * half + j) * 2 + 1] = static_cast<float>(std::sin(angle));
        }
}

void rope_forward(Stream& stream, Tensor x, Tensor table, Tensor positions, int64_t rotated) {
    rotate(stream, x, table, positions, rotated, 1.0f);
}

void rope_backward(Stream& stream, Tensor dx, Tensor table, Tensor positions, int64_t rotated) {
    rotate(stream, dx, table, positions, rotated, -1.0f);
}

}  // namespace templar::TEMPLAR_ISA
