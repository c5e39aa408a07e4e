// One DeMo step of one tensor (docs/protocol.md §5, §5.1): E <- beta·E + eta·DCT(g); of each chunk the k largest |E|
// are coded and E <- E - decoded.
//
// One pass over memory: E is read and written once, g is read once: 12 bytes an element, and about 0.05 for the
// payload. A block holds one chunk from its first load to its last store. What it cannot know is the tensor's base
// exponent X, which the largest magnitude of all chunks decides. But a chunk's scale depends on X only where the chunk
// lies 2^31 below the largest: so the block codes with the scale that the chunk alone asks for, and keeps the k values
// as they were. When X is known, a second, small kernel writes scales and codes from these and repairs the rare chunk
// below the range, just as the CPU codes it.
//
// Bound: 3.4 ms for 1.2·10^9 elements at 4.3 TB/s. Beside it stand about 40 instructions an element, 1.7 ms of a full
// H200: 18 of the DCT, 11 of the top-k, 11 to move and add.
//
// Values that are too many to keep (k near the chunk's size in a large tensor) stay in E, uncoded, until the second
// kernel.
#include "kernels/cuda/demo_compress.h"

#include "kernels/cuda/dct.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/topk.h"

#include <algorithm>
#include <cstring>

namespace templar::cuda {

namespace {

// Blocks of the first kernel. Each leaves a maximum, and every block of the second kernel reads all of them.
constexpr uint32_t most_blocks = 4096;
// Blocks of a multiprocessor. Ten leave a thread 96 registers, 64 of them for its row or column.
constexpr int compress_blocks = 10, finish_blocks = 8;
constexpr int finish_warps = 4;

// ---- codes ----------------------------------------------------------------------------------------------------------
// In double or integers, so that every decision is that of kernels/cpu/isa/demo_compress.cpp.

// s = mantissa·2^exponent with mantissa in 8 … 15; mantissa 0: a chunk of zeros.
struct Scale {
    int mantissa, exponent;
    __device__ double value() const {
        const int64_t bits = static_cast<int64_t>(exponent + 1023) << 52;
        double power;
        memcpy(&power, &bits, sizeof power);
        return mantissa * power;
    }
};

// The smallest scale that does not clip `magnitude`: s > magnitude/2^(b-1).
__device__ Scale smallest_scale(uint32_t magnitude, int code_bits) {
    if (magnitude == 0) return {0, 0};
    const double largest = __uint_as_float(magnitude);  // normal: every fp32 number is
    int64_t bits;
    memcpy(&bits, &largest, sizeof bits);
    const int exponent = static_cast<int>(bits >> 52) - 1023 - 3 - (code_bits - 1);
    const int mantissa = 8 + static_cast<int>(bits >> 49 & 7) + 1;
    return mantissa == 16 ? Scale{8, exponent + 1} : Scale{mantissa, exponent};
}

struct Coded {
    uint32_t field;  // q << 1 | sign
    float left;      // the value minus what the receiver decodes
};
__device__ Coded code_value(float value, double s, int code_bits) {
    const int q_max = (1 << (code_bits - 1)) - 1;
    // The quotient of a 24-bit and a 4-bit number is never within rounding of an integer that it is not.
    const double quotient = fabs(static_cast<double>(value)) / s;
    const int q = quotient < q_max ? static_cast<int>(quotient) : q_max;
    const bool negative = value < 0;
    const float decoded = static_cast<float>((2 * q + 1) * (s / 2));
    return {static_cast<uint32_t>(q << 1 | (negative ? 1 : 0)), negative ? value + decoded : value - decoded};
}

// ---- first kernel: momentum, top-k, indices -------------------------------------------------------------------------

struct Work {
    SparseOut out;
    float* momentum;
    const float* grad;
    ChunkMap map;
    DemoStep step;
    uint32_t group;           // chunks whose packed fields end on a byte together: 1, 2, 4 or 8. They stay in one block
    uint32_t* block_largest;  // magnitude_bits, one for each block of the first kernel
    float* kept;              // (chunks·k) the picked values before coding; null: they are still in E
};

template <class Dct, int max_k>
struct CompressStorage {
    ChunkValues chunk;
    TopK<max_k> top;
    typename Dct::Shared dct;
    uint8_t last_byte[2];  // of the indices so far, not yet full; by parity of the chunk
};

// n elements at a time: 4 where a chunk is whole packs of E, else 1.
// chunk <- beta·E + eta·chunk. Returns this thread's largest magnitude.
template <int n>
__device__ __forceinline__ uint32_t add_momentum(ChunkValues& chunk, const float* momentum, int size, DemoStep step) {
    constexpr int stride = dct_threads * n, batch = n == 1 ? 1 : 8;  // loads in flight
    uint32_t peak = 0;
    for (int first = static_cast<int>(threadIdx.x) * n; first < size; first += batch * stride) {
        Floats<n> old[batch];
        for (int b = 0; b < batch; ++b) old[b] = load<n>(momentum + first + b * stride, Use::streaming);
        for (int b = 0; b < batch; ++b) {
            float* const place = chunk.values + slot(first + b * stride);
            Floats<n> sum = load<n>(place);
            for (int e = 0; e < n; ++e) {
                sum[e] = __fadd_rn(__fmul_rn(step.beta, old[b][e]), __fmul_rn(step.eta, sum[e]));
                peak = max(peak, magnitude_bits(sum[e]));
            }
            store<n>(place, sum);
        }
    }
    return peak;
}

template <int n>
__device__ __forceinline__ void store_momentum(float* momentum, const ChunkValues& chunk, int size) {
    for (int i = static_cast<int>(threadIdx.x) * n; i < size; i += dct_threads * n)
        store<n>(momentum + i, load<n>(chunk.values + slot(i)), Use::streaming);
}

// Packs a chunk's k indices, low bits first, each byte by one thread. `chunk_in_group` tells whether the first byte
// begins in the chunk before; a last byte that ends in the next one is left to it, unless this is the `last` chunk of
// the group.
__device__ void pack_indices(uint8_t* section, uint32_t chunk, uint32_t chunk_in_group, bool last,
                             const uint16_t* picked, int k, int bits, uint8_t (&last_byte)[2]) {
    const int64_t begin = static_cast<int64_t>(chunk) * k * bits, end = begin + k * bits;
    for (int64_t byte = begin / 8 + threadIdx.x; byte * 8 < end; byte += dct_threads) {
        uint32_t value = byte * 8 < begin ? last_byte[(chunk_in_group + 1) % 2] : 0;
        // Its first bit is bit `from` of the chunk's; negative: of the chunk before.
        const int from = static_cast<int>(byte * 8 - begin);
        for (int i = max(from, 0) / bits; i < k && i * bits < from + 8; ++i) {
            const int shift = i * bits - from;
            value |=
                shift >= 0 ? static_cast<uint32_t>(picked[i]) << shift : static_cast<uint32_t>(picked[i]) >> -shift;
        }
        if (byte * 8 + 8 <= end || last)
            section[byte] = static_cast<uint8_t>(value);
        else
            last_byte[chunk_in_group % 2] = static_cast<uint8_t>(value);
    }
}

template <class Dct, int max_k>
__global__ void __launch_bounds__(dct_threads, compress_blocks) compress_chunks(Dct dct, Work work) {
    auto& storage = shared_storage<CompressStorage<Dct, max_k>>();
    const ChunkMap& map = work.map;
    const int k = work.out.format.k, code_bits = work.out.format.code_bits;
    constexpr int pack = Dct::size > 0 ? pack_size<float> : 1;
    const int size = Dct::size > 0 ? Dct::size : map.size;
    uint32_t largest = 0;
    dct.prepare(storage.dct);
    for (int64_t first = int64_t{blockIdx.x} * work.group; first < map.chunks;
         first += int64_t{gridDim.x} * work.group) {
        const uint32_t in_group = static_cast<uint32_t>(min(int64_t{work.group}, map.chunks - first));
        for (uint32_t c = 0; c < in_group; ++c) {
            const uint32_t chunk = static_cast<uint32_t>(first) + c;
            float* const momentum = work.momentum + static_cast<int64_t>(chunk) * size;
            dct.encode(storage.chunk, storage.dct, work.grad + map.corner(chunk), map.cols);
            const uint32_t peak = add_momentum<pack>(storage.chunk, momentum, size, work.step);
            storage.top.select(storage.chunk, size, k, peak);

            largest = max(largest, storage.top.largest);
            const Scale scale = smallest_scale(storage.top.largest, code_bits);
            if (work.kept) {
                const double s = scale.value();
                for (int i = static_cast<int>(threadIdx.x); i < k; i += dct_threads) {
                    float& value = storage.chunk.values[slot(storage.top.picked[i])];
                    work.kept[static_cast<int64_t>(chunk) * k + i] = value;
                    if (scale.mantissa != 0) value = code_value(value, s, code_bits).left;
                }
            }
            pack_indices(work.out.indices, chunk, c, c + 1 == in_group, storage.top.picked, k,
                         work.out.format.index_bits, storage.last_byte);
            __syncthreads();
            store_momentum<pack>(momentum, storage.chunk, size);
            __syncthreads();
        }
    }
    if (threadIdx.x == 0) work.block_largest[blockIdx.x] = largest;
}

// ---- second kernel: base exponent, scales, codes --------------------------------------------------------------------

struct FinishStorage {
    uint32_t largest[finish_warps];
    Scale scales[finish_warps][8];  // of a warp's group of chunks
};

// Where value i of all the kept ones stands in E.
__device__ float& momentum_of(const Work& work, int64_t i) {
    const int64_t chunk = i / work.out.format.k;
    return work.momentum[chunk * work.map.size + load_field(work.out.indices, i, work.out.format.index_bits)];
}

__device__ float kept_value(const Work& work, int64_t i) {
    return work.kept ? work.kept[i] : momentum_of(work, i);
}

// The exponent of the largest scale is X + 31; X = 0 when there is none.
__device__ int base_exponent(const Work& work, FinishStorage& storage, uint32_t blocks) {
    uint32_t largest = 0;
    for (uint32_t i = threadIdx.x; i < blocks; i += finish_warps * 32) largest = max(largest, work.block_largest[i]);
    largest = __reduce_max_sync(~0u, largest);
    if (threadIdx.x % 32 == 0) storage.largest[threadIdx.x / 32] = largest;
    __syncthreads();
    for (uint32_t of_warp : storage.largest) largest = max(largest, of_warp);
    return largest == 0 ? 0 : smallest_scale(largest, work.out.format.code_bits).exponent - 31;
}

// A warp takes a group of chunks: first their scales, then their codes, a byte each lane.
__global__ void __launch_bounds__(finish_warps * 32, finish_blocks) finish(Work work, uint32_t blocks) {
    auto& storage = shared_storage<FinishStorage>();
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int k = work.out.format.k, code_bits = work.out.format.code_bits, fields = 8 / code_bits;  // in a byte
    const int base = base_exponent(work, storage, blocks);
    if (blockIdx.x == 0 && threadIdx.x < 2)
        work.out.base_exponent[threadIdx.x] = static_cast<uint8_t>(base >> 8 * threadIdx.x);

    Scale(&scales)[8] = storage.scales[warp];
    const int64_t stride = int64_t{gridDim.x} * finish_warps * work.group;
    for (int64_t first = (int64_t{blockIdx.x} * finish_warps + warp) * work.group; first < work.map.chunks;
         first += stride) {
        const int in_group = static_cast<int>(min(int64_t{work.group}, work.map.chunks - first));
        uint32_t below_range = 0;  // bit c: chunk first + c
        for (int c = 0; c < in_group; ++c) {
            uint32_t largest = 0;
            for (int i = lane; i < k; i += 32)
                largest = max(largest, magnitude_bits(kept_value(work, (first + c) * k + i)));
            Scale scale = smallest_scale(__reduce_max_sync(~0u, largest), code_bits);
            if (scale.mantissa != 0 && (scale.exponent < base || (scale.exponent == base && scale.mantissa == 8))) {
                scale = {9, base};  // the smallest there is, byte 0 being reserved
                below_range |= 1u << c;
            }
            if (lane == 0) {
                scales[c] = scale;
                work.out.scales[first + c] =
                    scale.mantissa == 0 ? 0 : static_cast<uint8_t>((scale.exponent - base) << 3 | (scale.mantissa - 8));
            }
        }
        __syncwarp();
        const int count = in_group * k;
        for (int byte = lane; byte * fields < count; byte += 32) {
            uint32_t packed = 0;
            for (int n = 0; n < fields && byte * fields + n < count; ++n) {
                const int i = byte * fields + n, c = i / k;
                if (scales[c].mantissa == 0) continue;
                const Coded coded = code_value(kept_value(work, first * k + i), scales[c].value(), code_bits);
                packed |= coded.field << n * code_bits;
                if (!work.kept || (below_range >> c & 1) != 0) momentum_of(work, first * k + i) = coded.left;
            }
            work.out.codes[first * k * code_bits / 8 + byte] = static_cast<uint8_t>(packed);
        }
        __syncwarp();
    }
}

// ---- launcher -------------------------------------------------------------------------------------------------------

template <class Dct, int max_k>
void launch_compress(Stream& stream, uint32_t blocks, Dct dct, const Work& work) {
    launch(stream, "demo_compress", dim3(blocks), dim3(dct_threads), sizeof(CompressStorage<Dct, max_k>),
           compress_chunks<Dct, max_k>, dct, work);
}

void check_arguments(const char* op, Tensor momentum, Tensor grad, const ChunkGrid& grid, const CodeFormat& format) {
    const auto [k, code_bits, index_bits] = format;
    const int size = grid.chunk_size();
    require_type(op, DType::f32, {momentum, grad});
    require(op, momentum.numel() == grid.rows * grid.cols && grad.numel() == momentum.numel(),
            "tensors of the grid's size");
    require(op, k >= 1 && k <= size, "k from 1 to the chunk's size");
    require(op, code_bits == 8 || code_bits == 4 || code_bits == 2 || code_bits == 1, "8, 4, 2 or 1 bits a code");
    require(op, index_bits >= 0 && index_bits <= 12 && size <= 1 << index_bits,
            "as many bits an index as the chunk's size needs");
}

}  // namespace

void demo_compress(Stream& stream, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid, DemoStep step,
                   int64_t scratch_limit) {
    check_arguments("demo_compress", momentum, grad, grid, out.format);
    const auto [k, code_bits, index_bits] = out.format;
    const ChunkMap map = chunk_map("demo_compress", grid);
    uint32_t group = 1;
    while (group * k * code_bits % 8 != 0 || group * k * index_bits % 8 != 0) group *= 2;
    const int64_t groups = ceil_div(map.chunks, group);
    const auto blocks = static_cast<uint32_t>(std::min<int64_t>(groups, most_blocks));

    const int64_t maxima_bytes = most_blocks * sizeof(uint32_t), kept_bytes = int64_t{map.chunks} * k * 4;
    const bool keep = maxima_bytes + kept_bytes <= scratch_limit;
    auto* maxima = static_cast<uint32_t*>(scratch(stream, maxima_bytes + (keep ? kept_bytes : 0)));
    float* kept = keep ? reinterpret_cast<float*>(maxima + most_blocks) : nullptr;
    Work work{out, momentum.f32(), grad.f32(), map, step, group, maxima, kept};

    const bool fast = takes_fast_dct(grid) && whole_packs<float>(grid.chunk_size(), momentum.f32());
    work.step.eta *= fast ? FastDct::scale : AnyDct::scale;  // exact: a power of two
    if (blocks > 0) {
        if (fast && k <= dct_threads)
            launch_compress<FastDct, dct_threads>(stream, blocks, {}, work);
        else if (fast)
            launch_compress<FastDct, max_chunk_size>(stream, blocks, {}, work);
        else
            launch_compress<AnyDct, max_chunk_size>(stream, blocks, any_dct(grid), work);
    }
    // A tensor of no chunks, too, has a base exponent.
    const int64_t second_blocks = std::clamp<int64_t>(ceil_div(groups, finish_warps), 1, 1024);
    launch(stream, "demo_compress: codes", grid_of(second_blocks), dim3(finish_warps * 32), sizeof(FinishStorage),
           finish, work, blocks);
}

void demo_compress(Stream& stream, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid, DemoStep step) {
    demo_compress(stream, out, momentum, grad, grid, step, scratch_bytes);
}

}  // namespace templar::cuda
