// Causal attention of T new tokens over the keys and values kept of `past` earlier ones:
// out_t = Σ_{s <= past + t} softmax_s(q_t·k_s / sqrt(D))·v_s.
//
//     out (B, T, H, D), keys, values (B, G, P, D), qkv (B, T, H + 2G, D)
//
// First the new keys and values are copied to their places. Then a block has one token, up to four query heads of one
// group and a split of the keys, and walks over them with the online softmax: a row of keys is read by as many lanes as
// have 16 bytes of it, four rows at a time on their way to each. Where keys are split, a last kernel combines the parts
// in the order of the splits. Sums and probabilities stay in fp32.
//
// Bound by memory: 2·(past + T)·G·D numbers, each read once for all heads of a block. Several tokens of a prompt read
// them from L2. Not yet measured.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

#include <algorithm>
#include <cmath>

namespace templar::cuda {

namespace {

// ---- policy ---------------------------------------------------------------------------------------------------------
constexpr int warps = 4, threads = 32 * warps;
constexpr int rows_at_a_time = 4;  // of keys, for each lane: their loads are on their way together
constexpr int most_heads = 4;      // of a block
constexpr int blocks_per_multiprocessor = 4;
constexpr int fewest_keys = 64;  // of a split
constexpr int64_t most_splits = 128;

struct DecodeTask {
    int tokens, heads, groups, size, capacity, past, splits;
    int head_tiles;  // of a group
    float scale2;    // log2(e)/sqrt(D): exp(score/sqrt(D)) is one exp2
    float* parts;    // (B·T·H, splits, 2 + D): maximum, sum, unnormalised out; where there are several splits

    __device__ int per_group() const { return heads / groups; }
};

// ---- keeping --------------------------------------------------------------------------------------------------------
// Block (token of all, part of its keys and values), n numbers for each thread.
template <int n, class T>
__global__ void keep_kernel(T* keys, T* values, const T* qkv, DecodeTask task) {
    const int in_row = task.groups * task.size;  // of keys, and of values
    const int i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * n;
    if (i >= 2 * in_row) return;
    const int b = static_cast<int>(blockIdx.x) / task.tokens, t = static_cast<int>(blockIdx.x) % task.tokens;
    const T* const from =
        qkv + int64_t{blockIdx.x} * (task.heads * task.size + 2 * in_row) + task.heads * task.size + i;
    const int within = i % in_row, g = within / task.size, d = within % task.size;
    T* const to =
        (i < in_row ? keys : values) + ((int64_t{b} * task.groups + g) * task.capacity + task.past + t) * task.size + d;
    store_pack(to, load_pack<n>(from));
}

// ---- a split of the keys
// --------------------------------------------------------------------------------------------- What some keys add up
// to for one query; `out` is a lane's share of it.
template <int values>
struct Part {
    float max, sum;  // of 2^(score - max), scores times log2(e)
    float out[values];

    __device__ __forceinline__ void clear() {
        max = -INFINITY;
        sum = 0.0f;
#pragma unroll
        for (int i = 0; i < values; ++i) out[i] = 0.0f;
    }
    // Makes it relative to another maximum, which is finite and no smaller.
    __device__ __forceinline__ void rescale(float to) {
        const float shrink = exp2_approx(max - to);
        max = to;
        sum *= shrink;
#pragma unroll
        for (int i = 0; i < values; ++i) out[i] *= shrink;
    }
};

// How a row of `head` numbers lies in a warp: lane l of those that share it has numbers (i·lanes + l)·n + j.
template <int head, int n>
struct RowLayout {
    static constexpr int lanes = head / n < 32 ? head / n : 32, packs = head / n / lanes, values = packs * n;
    static constexpr int rows = 32 / lanes;  // that a warp reads together

    __device__ static int place(int i) { return (i * lanes + static_cast<int>(threadIdx.x) % lanes) * n; }
    // This lane's numbers of a row of `size`; 0 beyond.
    template <class T>
    __device__ static __forceinline__ void read(float (&to)[values], const T* row, int size) {
#pragma unroll
        for (int i = 0; i < packs; ++i) {
            Floats<n> some{};
            if (place(i) < size) some = load<n>(row + place(i));
#pragma unroll
            for (int j = 0; j < n; ++j) to[i * n + j] = some[j];
        }
    }
};

template <int head_count, int head>
struct DecodeStorage {
    float max[warps][head_count], sum[warps][head_count];
    float out[warps][head_count][head];
};

// Block (split, head tile of a group, token). head_count: query heads of a block, the last tile may have fewer.
template <class T, int head, int n, int head_count>
__global__ void __launch_bounds__(threads, 2)
    decode_kernel(T* out, const T* keys, const T* values, const T* qkv, DecodeTask task) {
    using Layout = RowLayout<head, n>;
    auto& shared = shared_storage<DecodeStorage<head_count, head>>();
    const int split = static_cast<int>(blockIdx.x), group = static_cast<int>(blockIdx.y) / task.head_tiles;
    const int b = static_cast<int>(blockIdx.z) / task.tokens, t = static_cast<int>(blockIdx.z) % task.tokens;
    const int first_head = static_cast<int>(blockIdx.y) % task.head_tiles * head_count;  // in the group
    const int heads = min(head_count, task.per_group() - first_head);
    const int64_t seen = task.past + t + 1;  // keys that this token sees
    const int begin = static_cast<int>(seen * split / task.splits),
              end = static_cast<int>(seen * (split + 1) / task.splits);
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;

    const int64_t token = blockIdx.z, head_0 = group * task.per_group() + first_head;
    const T* const q = qkv + (token * (task.heads + 2 * task.groups) + head_0) * task.size;
    const int64_t kept = (int64_t{b} * task.groups + group) * task.capacity * task.size;
    const T *const k = keys + kept, *const v = values + kept;

    float queries[head_count][Layout::values];
    Part<Layout::values> parts[head_count];
#pragma unroll
    for (int h = 0; h < head_count; ++h) {
        parts[h].clear();
        Layout::read(queries[h], q + min(h, heads - 1) * task.size, task.size);
#pragma unroll
        for (int i = 0; i < Layout::values; ++i) queries[h][i] *= task.scale2;
    }

    constexpr int stride = Layout::rows * warps;  // rows that the block reads together
    for (int first = begin; first < end; first += stride * rows_at_a_time) {
        const int row = first + warp * Layout::rows + lane / Layout::lanes;
        const auto present = [&](int r) { return row + r * stride < end; };
        // The last rows again where there are none: read, and left out.
        const auto address = [&](const T* of, int r) {
            return of + int64_t{min(row + r * stride, end - 1)} * task.size;
        };
        float numbers[rows_at_a_time][Layout::values];
#pragma unroll
        for (int r = 0; r < rows_at_a_time; ++r) Layout::read(numbers[r], address(k, r), task.size);
        float scores[head_count][rows_at_a_time];
#pragma unroll
        for (int h = 0; h < head_count; ++h)
#pragma unroll
            for (int r = 0; r < rows_at_a_time; ++r) {
                float score = 0.0f;
#pragma unroll
                for (int i = 0; i < Layout::values; ++i) score = fmaf(queries[h][i], numbers[r][i], score);
#pragma unroll
                for (int distance = 1; distance < Layout::lanes; distance *= 2)
                    score += __shfl_xor_sync(~0u, score, distance);
                scores[h][r] = present(r) ? score : -INFINITY;
            }
#pragma unroll
        for (int r = 0; r < rows_at_a_time; ++r) Layout::read(numbers[r], address(v, r), task.size);
#pragma unroll
        for (int h = 0; h < head_count; ++h) {
            float max = parts[h].max;
#pragma unroll
            for (int r = 0; r < rows_at_a_time; ++r) max = fmaxf(max, scores[h][r]);
            if (max == -INFINITY) continue;  // this lane's rows are all past the end
            parts[h].rescale(max);
#pragma unroll
            for (int r = 0; r < rows_at_a_time; ++r) {
                const float weight = exp2_approx(scores[h][r] - max);
                parts[h].sum += weight;
#pragma unroll
                for (int i = 0; i < Layout::values; ++i) parts[h].out[i] = fmaf(weight, numbers[r][i], parts[h].out[i]);
            }
        }
    }

    // Over the rows of a warp, then over the warps.
#pragma unroll
    for (int h = 0; h < head_count; ++h) {
        float max = parts[h].max;
#pragma unroll
        for (int distance = Layout::lanes; distance < 32; distance *= 2)
            max = fmaxf(max, __shfl_xor_sync(~0u, max, distance));
        if (max > -INFINITY) parts[h].rescale(max);
#pragma unroll
        for (int distance = Layout::lanes; distance < 32; distance *= 2) {
            parts[h].sum += __shfl_xor_sync(~0u, parts[h].sum, distance);
#pragma unroll
            for (int i = 0; i < Layout::values; ++i) parts[h].out[i] += __shfl_xor_sync(~0u, parts[h].out[i], distance);
        }
        if (lane < Layout::lanes) {
            if (lane == 0) shared.max[warp][h] = parts[h].max, shared.sum[warp][h] = parts[h].sum;
#pragma unroll
            for (int i = 0; i < Layout::values; ++i)
                shared.out[warp][h][Layout::place(i / n) + i % n] = parts[h].out[i];
        }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < heads * task.size; i += threads) {
        const int h = i / task.size, d = i % task.size;
        float max = shared.max[0][h];
        for (int w = 1; w < warps; ++w) max = fmaxf(max, shared.max[w][h]);
        float sum = 0.0f, total = 0.0f;
        for (int w = 0; w < warps && max > -INFINITY; ++w) {
            const float weight = exp2_approx(shared.max[w][h] - max);
            sum += weight * shared.sum[w][h];
            total += weight * shared.out[w][h][d];
        }
        const int64_t query = token * task.heads + head_0 + h;
        if (task.splits == 1) {
            out[query * task.size + d] = from_float<T>(total / sum);
        } else {
            float* const part = task.parts + (query * task.splits + split) * (2 + task.size);
            if (d == 0) part[0] = max, part[1] = sum;
            part[2 + d] = total;
        }
    }
}

// Block for each query: the splits in their order. The first holds key 0 or is empty, some is not.
template <class T>
__global__ void __launch_bounds__(256) combine_splits_kernel(T* out, DecodeTask task) {
    const int64_t query = blockIdx.x;
    const int d = static_cast<int>(threadIdx.x), stride = 2 + task.size;
    if (d >= task.size) return;
    const float* const parts = task.parts + query * task.splits * stride;
    float max = -INFINITY;
    for (int s = 0; s < task.splits; ++s) max = fmaxf(max, parts[s * stride]);
    float sum = 0.0f, total = 0.0f;
    for (int s = 0; s < task.splits; ++s) {
        const float weight = exp2_approx(parts[s * stride] - max);
        sum += weight * parts[s * stride + 1];
        total += weight * parts[s * stride + 2 + d];
    }
    out[query * task.size + d] = from_float<T>(total / sum);
}

// ---- launchers ------------------------------------------------------------------------------------------------------

// run.operator()<head, n>(): the padded head size and the numbers per load; rows that are no whole packs are read one
// number at a time.
template <class T, class Run>
void with_layout(int64_t size, bool aligned, Run&& run) {
    if (!aligned) return run.template operator()<256, 1>();
    if (size <= 32) return run.template operator()<32, pack_size<T>>();
    if (size <= 64) return run.template operator()<64, pack_size<T>>();
    if (size <= 128) return run.template operator()<128, pack_size<T>>();
    return run.template operator()<256, pack_size<T>>();
}

template <class Run>
void with_heads(int64_t per_group, Run&& run) {
    if (per_group == 1)
        run.template operator()<1>();
    else
        run.template operator()<most_heads>();
}

}  // namespace

void attention_decode(Stream& stream, Tensor out, Tensor keys, Tensor values, Tensor qkv, int64_t past) {
    constexpr const char* name = "attention_decode";
    require(name, out.rank == 4 && keys.rank == 4 && values.shape == keys.shape && qkv.rank == 4,
            "out (B, T, H, D), keys and values (B, G, P, D), qkv (B, T, H + 2G, D)");
    const int64_t batch = out.shape[0], tokens = out.shape[1], heads = out.shape[2], size = out.shape[3];
    const int64_t groups = keys.shape[1], capacity = keys.shape[2];
    require(name, groups > 0 && heads % groups == 0 && qkv.shape[2] == heads + 2 * groups,
            "H query heads, a multiple of G");
    require(name,
            keys.shape[0] == batch && qkv.shape[0] == batch && qkv.shape[1] == tokens && keys.shape[3] == size &&
                qkv.shape[3] == size && size <= 256,
            "one B, T and D, at most 256");
    require(name, past >= 0 && past + tokens <= capacity && capacity < int64_t{1} << 30, "past + T <= P < 2^30");
    require(name, batch * tokens < 65536 && heads < 65536, "B·T and H < 65536");
    require_type(name, out.dtype, {keys, values, qkv});
    if (out.numel() == 0) return;

    with_compute_type(name, out.dtype, [&]<class T>() {
        with_heads(heads / groups, [&]<int head_count>() {
            DecodeTask task{};
            task.tokens = static_cast<int>(tokens);
            task.heads = static_cast<int>(heads);
            task.groups = static_cast<int>(groups);
            task.size = static_cast<int>(size);
            task.capacity = static_cast<int>(capacity);
            task.past = static_cast<int>(past);
            task.head_tiles = static_cast<int>(ceil_div(heads / groups, head_count));
            task.scale2 = log2_e / std::sqrt(static_cast<float>(size));
            // As many splits as fill the GPU, of no fewer keys than are worth a block.
            const int64_t blocks = batch * tokens * groups * task.head_tiles;
            const int64_t wanted = ceil_div(int64_t{blocks_per_multiprocessor} * stream.cuda->multiprocessors, blocks);
            task.splits = static_cast<int>(
                std::clamp<int64_t>(ceil_div(past + tokens, fewest_keys), 1, std::min(wanted, most_splits)));
            const int64_t queries = batch * tokens * heads;
            if (task.splits > 1)
                task.parts =
                    static_cast<float*>(scratch(stream, queries * task.splits * (2 + size) * int64_t{sizeof(float)}));

            T* const k = data<T>(keys);
            T* const v = data<T>(values);
            const T* const from = data<const T>(qkv);
            const bool aligned = whole_packs<T>(size, k, v, from);
            with_width<T>(aligned, [&]<int n>() {
                const RowGrid all = row_grid(batch * tokens, 2 * groups * size / n, 256);
                launch(stream, name, all.grid, all.block, 0, keep_kernel<n, T>, k, v, from, task);
            });
            with_layout<T>(size, aligned, [&]<int head, int n>() {
                const dim3 grid(static_cast<unsigned>(task.splits), static_cast<unsigned>(groups * task.head_tiles),
                                static_cast<unsigned>(batch * tokens));
                launch(stream, name, grid, dim3(threads), sizeof(DecodeStorage<head_count, head>),
                       decode_kernel<T, head, n, head_count>, data<T>(out), k, v, from, task);
            });
            if (task.splits > 1)
                launch(stream, name, grid_of(queries), grid_of(round_up(size, 32)), 0, combine_splits_kernel<T>,
                       data<T>(out), task);
        });
    });
}

}  // namespace templar::cuda
