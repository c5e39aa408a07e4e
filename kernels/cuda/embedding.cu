// out_i = table[id_i]; dtable[id] += Σ dout_i over the rows with id_i = id, in ascending order.
//
//     out, dout (N, C), table (V, C), dtable (V, C) fp32, ids (N)
//
// Forward: reads and writes N·C numbers; bound by memory.
// Backward: reads dout once, reads and writes fp32 rows of dtable, one for each different id; bound by memory as long
// as the search for equal ids is cheap. That costs at most N comparisons for each different id: 2^28 for 32,768 tokens
// of 8,192 kinds, or 2^23 loads by a warp from the second-level cache. No atomics, no sorting, nothing kept between
// launches, and the sums have the CPU's order, so they have its bits.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.h"

namespace templar::cuda {

namespace {

constexpr int max_threads = 256;

// Block (i, part): `part` of row i, one step of n channels for each thread.
template <class T, int n>
__global__ void __launch_bounds__(max_threads)
    forward_kernel(T* out, const T* table, const int32_t* ids, int64_t channels) {
    const int64_t row = blockIdx.x;
    const int64_t channel = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
    if (channel >= channels) return;
    store_pack(out + row * channels + channel, load_pack<n>(table + ids[row] * channels + channel));
}

constexpr int backward_threads = 256;
constexpr int groups = 32;           // of 32 ids
constexpr int window = 32 * groups;  // ids that a block compares before it waits for all its threads
constexpr int warps = backward_threads / 32;

struct BackwardStorage {
    unsigned equal[groups];  // bit l of group g: id 32·g + l of the window is the block's
    int rows[window];        // where these bits are, ascending
};

// True, for all threads, when one of `ids` up to (not including) `end` equals id.
__device__ __forceinline__ bool occurs_before(const int32_t* ids, int64_t end, int32_t id) {
    for (; end > 0; end -= window) {  // backwards: a frequent id was there not long ago
        bool equal = false;
        for (int k = 0; k < window / backward_threads; ++k) {
            const int64_t i = end - 1 - k * backward_threads - static_cast<int>(threadIdx.x);
            equal |= i >= 0 && ids[i] == id;
        }
        if (__syncthreads_or(equal)) return true;
    }
    return false;
}

// Fills shared.rows with the places in ids[0, min(count, window)) that equal id; returns how many there are.
__device__ __forceinline__ int find_rows(BackwardStorage& shared, const int32_t* ids, int64_t count, int32_t id) {
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    unsigned any = 0;
    for (int group = warp; group < groups; group += warps) {
        const int i = 32 * group + lane;
        const unsigned equal = __ballot_sync(0xffffffffu, i < count && ids[i] == id);
        if (lane == 0) shared.equal[group] = equal;
        any |= equal;
    }
    if (!__syncthreads_or(any != 0)) return 0;

    int found = 0;
    for (int group = 0; group < groups; ++group) {
        const unsigned equal = shared.equal[group];
        if (group % warps == warp && (equal >> lane & 1u))
            shared.rows[found + __popc(equal & ((1u << lane) - 1))] = 32 * group + lane;
        found += __popc(equal);
    }
    __syncthreads();
    return found;
}

// One block for each row of dout. Where the row's id was there before, that block adds this row too.
template <class T, int n>
__global__ void __launch_bounds__(backward_threads, 4)
    backward_kernel(float* dtable, const T* dout, const int32_t* ids, int64_t rows, int64_t channels) {
    constexpr int batch = 4;  // rows on their way at the same time
    BackwardStorage& shared = shared_storage<BackwardStorage>();
    const int64_t first = blockIdx.x;
    const int32_t id = ids[first];
    if (occurs_before(ids, first, id)) return;

    for (int64_t begin = first; begin < rows; begin += window) {
        const int found = find_rows(shared, ids + begin, rows - begin, id);
        if (found == 0) continue;
        for (int64_t channel = int64_t{threadIdx.x} * n; channel < channels; channel += backward_threads * n) {
            float* const to = dtable + id * channels + channel;
            const T* const from = dout + begin * channels + channel;
            Floats<n> sum = load<n>(to);
            for (int r = 0; r < found; r += batch) {
                Pack<T, n> row[batch];
                for (int b = 0; b < batch; ++b)
                    if (r + b < found) row[b] = load_pack<n>(from + shared.rows[r + b] * channels, Use::streaming);
                for (int b = 0; b < batch; ++b) {
                    if (r + b >= found) break;
                    const Floats<n> values = widen(row[b]);
                    for (int j = 0; j < n; ++j) sum[j] += values[j];
                }
            }
            store(to, sum);
        }
    }
}

}  // namespace

void embedding_forward(Stream& stream, Tensor out, Tensor table, Tensor ids) {
    constexpr const char* name = "embedding_forward";
    require_type(name, out.dtype, {table});
    require_type(name, DType::i32, {ids});
    const int64_t rows = ids.numel(), channels = table.last();
    if (rows == 0) return;
    with_compute_type(name, out.dtype, [&]<class T>() {
        with_width<T>(whole_packs<T>(channels, out.data, table.data), [&]<int n>() {
            const auto [grid, block] = row_grid(rows, ceil_div(channels, n), max_threads);
            launch(stream, name, grid, block, 0, forward_kernel<T, n>, data<T>(out), data<T>(table), ids.i32(),
                   channels);
        });
    });
}

void embedding_backward(Stream& stream, Tensor dtable, Tensor dout, Tensor ids) {
    constexpr const char* name = "embedding_backward";
    require_type(name, DType::f32, {dtable});
    require_type(name, DType::i32, {ids});
    const int64_t rows = ids.numel(), channels = dtable.last();
    if (rows == 0) return;
    with_compute_type(name, dout.dtype, [&]<class T>() {
        with_width<T>(whole_packs<T>(channels, dout.data, dtable.data), [&]<int n>() {
            launch(stream, name, grid_of(rows), backward_threads, sizeof(BackwardStorage), backward_kernel<T, n>,
                   dtable.f32(), data<T>(dout), ids.i32(), rows, channels);
        });
    });
}

}  // namespace templar::cuda
