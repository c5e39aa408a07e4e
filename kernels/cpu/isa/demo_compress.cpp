// Two passes over the chunks. The first updates the momentum (12 bytes of memory traffic an element) and
// picks the coefficients; only then the tensor's largest magnitude, and with it the base exponent, is known.
// The second touches the k picked values of each chunk: it codes them and subtracts what the receiver will
// decode.
#include "kernels/cpu/isa/demo_compress.h"

#include "kernels/cpu/isa/dct.h"
#include "kernels/cpu/isa/topk.h"

#include <omp.h>

#include <cstring>

namespace templar::TEMPLAR_ISA {

namespace {

// Appends fields of at most 16 bits to a packed section, low bits first.
class BitWriter {
  public:
    explicit BitWriter(uint8_t* out) : out_(out) {}
    void put(uint32_t field, int bits) {
        pending_ |= static_cast<uint64_t>(field) << filled_;
        filled_ += bits;
        if (filled_ < 32) return;
        for (int i = 0; i < 4; ++i) out_[i] = static_cast<uint8_t>(pending_ >> (8 * i));
        out_ += 4;
        pending_ >>= 32;
        filled_ -= 32;
    }
    // Writes what is left, padded with zero bits to a byte.
    void finish() {
        for (; filled_ > 0; filled_ -= 8, pending_ >>= 8) *out_++ = static_cast<uint8_t>(pending_);
    }

  private:
    uint8_t* out_;
    uint64_t pending_ = 0;
    int filled_ = 0;
};

// s = mantissa·2^exponent with mantissa in 8 … 15.
struct Scale {
    int mantissa, exponent;
};

// The smallest scale that does not clip `largest` > 0: floor(largest/s) <= 2^(b-1) - 1, that is s >
// largest/2^(b-1).
Scale smallest_scale(double largest, int code_bits) {
    int64_t bits = __builtin_bit_cast(int64_t, largest);  // normal: every fp32 number is
    const int exponent = static_cast<int>(bits >> 52) - 1023 - 3 - (code_bits - 1);
    const int mantissa = 8 + static_cast<int>(bits >> 49 & 7) + 1;
    return mantissa == 16 ? Scale{8, exponent + 1} : Scale{mantissa, exponent};
}

double power_of_two(int exponent) {
    return __builtin_bit_cast(double, static_cast<int64_t>(exponent + 1023) << 52);
}

// Chunks [first, last) of a thread: groups of 8 chunks, whose packed fields end on a byte for every k and
// width.
struct Share {
    int64_t first, last;
};
Share share_of(int64_t chunks, int thread, int threads) {
    const int64_t groups = (chunks + 7) / 8;
    const int64_t first = groups * thread / threads * 8, last = groups * (thread + 1) / threads * 8;
    return {first, last < chunks ? last : chunks};
}

// E <- beta·E + eta·C; peaks as TopK::select wants them. Returns the largest peak.
int32_t add_gradient(float* momentum, const float* coef, int size, DemoStep step, int32_t* peaks) {
    for (int g = 0; g < peak_groups; ++g) peaks[g] = 0;
    for (int first = 0; first < size; first += peak_groups) {
        const int block = size - first < peak_groups ? size - first : peak_groups;
        for (int g = 0; g < block; ++g) {
            const float value = step.beta * momentum[first + g] + step.eta * coef[first + g];
            const int32_t magnitude = magnitude_bits(value);
            momentum[first + g] = value;
            peaks[g] = peaks[g] > magnitude ? peaks[g] : magnitude;
        }
    }
    int32_t largest = 0;
    for (int g = 0; g < peak_groups; ++g) largest = peaks[g] > largest ? peaks[g] : largest;
    return largest;
}

// First pass over a thread's share. Returns the largest magnitude_bits.
int32_t update_and_pick(Share share, SparseOut out, float* momentum, const float* grad, ChunkGrid grid,
                        DemoStep step) {
    const int size = grid.chunk_size();
    const int64_t chunks_across = grid.cols / grid.edge_cols;
    const auto [k, code_bits, index_bits] = out.format;
    ChunkDct dct(grid.edge_rows, grid.edge_cols, ChunkDct::Direction::encode);
    TopK top;
    alignas(64) float coef[max_chunk_size];
    alignas(64) int32_t peaks[peak_groups];
    int32_t picked[max_chunk_size];
    BitWriter indices(out.indices + packed_bytes(share.first * k, index_bits));
    int32_t largest = 0;
    for (int64_t chunk = share.first; chunk < share.last; ++chunk) {
        const int64_t y = chunk / chunks_across * grid.edge_rows, x = chunk % chunks_across * grid.edge_cols;
        float* values = momentum + chunk * size;
        dct.encode(coef, grad + y * grid.cols + x, grid.cols);
        const int32_t peak = add_gradient(values, coef, size, step, peaks);
        largest = peak > largest ? peak : largest;
        top.select(picked, values, size, k, peaks);
        for (int i = 0; i < k; ++i) indices.put(static_cast<uint32_t>(picked[i]), index_bits);
    }
    indices.finish();
    return largest;
}

// Codes the k picked values of one chunk and subtracts them. Returns the scale byte.
uint8_t code_chunk(BitWriter& codes, float* momentum, const int32_t* picked, int k, int code_bits,
                   int base_exponent) {
    double largest = 0;
    for (int i = 0; i < k; ++i) {
        const double magnitude = __builtin_fabs(momentum[picked[i]]);
        largest = magnitude > largest ? magnitude : largest;
    }
    if (largest == 0) {
        for (int i = 0; i < k; ++i) codes.put(0, code_bits);
        return 0;
    }
    Scale scale = smallest_scale(largest, code_bits);
    // Below the tensor's range, byte 0 being reserved: the smallest scale there is.
    if (scale.exponent < base_exponent || (scale.exponent == base_exponent && scale.mantissa == 8))
        scale = {9, base_exponent};

    const double s = scale.mantissa * power_of_two(scale.exponent);
    const int q_max = (1 << (code_bits - 1)) - 1;
    for (int i = 0; i < k; ++i) {
        float& value = momentum[picked[i]];
        // The quotient of a 24-bit and a 4-bit number is never within rounding of an integer that it is not.
        const double quotient = __builtin_fabs(value) / s;
        const int q = quotient < q_max ? static_cast<int>(quotient) : q_max;
        const bool negative = value < 0;
        codes.put(static_cast<uint32_t>(q << 1 | negative), code_bits);
        // Exact in float (12 bits), unless it is below the smallest denormal.
        const auto decoded = static_cast<float>((2 * q + 1) * (s / 2));
        value -= negative ? -decoded : decoded;
    }
    return static_cast<uint8_t>((scale.exponent - base_exponent) << 3 | (scale.mantissa - 8));
}

// Second pass over a thread's share.
void code_and_subtract(Share share, SparseOut out, float* momentum, int size, int base_exponent) {
    const auto [k, code_bits, index_bits] = out.format;
    int32_t picked[max_chunk_size];
    BitWriter codes(out.codes + packed_bytes(share.first * k, code_bits));
    for (int64_t chunk = share.first; chunk < share.last; ++chunk) {
        for (int i = 0; i < k; ++i)
            picked[i] = static_cast<int32_t>(packed_field(out.indices, chunk * k + i, index_bits));
        out.scales[chunk] = code_chunk(codes, momentum + chunk * size, picked, k, code_bits, base_exponent);
    }
    codes.finish();
}

}  // namespace

void demo_compress(Stream& stream, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid,
                   DemoStep step) {
    const int64_t chunks = grid.chunks(), groups = (chunks + 7) / 8;
    const int threads = groups < stream.threads ? static_cast<int>(groups) : stream.threads;
    float* values = momentum.f32();
    int32_t largest = 0;
#pragma omp parallel num_threads(threads) reduction(max : largest)
    largest = update_and_pick(share_of(chunks, omp_get_thread_num(), omp_get_num_threads()), out, values,
                              grad.f32(), grid, step);

    // The exponent of the largest scale is X + 31; X = 0 when there is none.
    const double magnitude = __builtin_bit_cast(float, largest);
    const int base_exponent =
        largest == 0 ? 0 : smallest_scale(magnitude, out.format.code_bits).exponent - 31;
    out.base_exponent[0] = static_cast<uint8_t>(base_exponent);
    out.base_exponent[1] = static_cast<uint8_t>(base_exponent >> 8);
#pragma omp parallel num_threads(threads)
    code_and_subtract(share_of(chunks, omp_get_thread_num(), omp_get_num_threads()), out, values,
                      grid.chunk_size(), base_exponent);
}

}  // namespace templar::TEMPLAR_ISA
