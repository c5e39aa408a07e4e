// out[i] = table[id_i]; dtable[id_i] += dout[i].
#include "kernels/cpu/isa/model_ops.h"

#include <cstring>

namespace templar::TEMPLAR_ISA {

void embedding_forward(Stream& stream, Tensor out, Tensor table, Tensor ids) {
    const int64_t rows = ids.numel(), channels = table.last();
    float* const out_data = out.f32();
    const float* const table_data = table.f32();
    const int32_t* const id = ids.i32();
#pragma omp parallel for num_threads(stream.threads) if (rows > 1)
    for (int64_t i = 0; i < rows; ++i)
        std::memcpy(out_data + i * channels, table_data + id[i] * channels, channels * sizeof(float));
}

// A thread walks all tokens for its strips of channels, so each sum is taken in the order of the tokens.
void embedding_backward(Stream& stream, Tensor dtable, Tensor dout, Tensor ids) {
    constexpr int64_t strip = 64;
    const int64_t rows = ids.numel(), channels = dtable.last();
    float* const table = dtable.f32();
    const float* const gradient = dout.f32();
    const int32_t* const id = ids.i32();
#pragma omp parallel for num_threads(stream.threads)
    for (int64_t begin = 0; begin < channels; begin += strip) {
        const int64_t end = begin + strip < channels ? begin + strip : channels;
        for (int64_t i = 0; i < rows; ++i) {
            float* const to = table + id[i] * channels;
            const float* const from = gradient + i * channels;
#pragma omp simd
            for (int64_t c = begin; c < end; ++c) to[c] += from[c];
        }
    }
}

}  // namespace templar::TEMPLAR_ISA
