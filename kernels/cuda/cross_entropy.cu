// loss_i = log Σ_v e^(z_iv) - z_i,label; d(logits) = scale·(softmax - onehot), written over the logits. Rows with a
// label below 0 are ignored: loss and gradient 0. For loss_eval also greedy: whether the label's logit is the maximum.
//
//     logits (N, V), labels (N), losses (N) fp32, greedy (N) u8
//
// Bound by memory: N·V numbers read, and written where the gradient is asked for. One block has a row and copies it to
// shared memory at once (a row of 32,000 bf16 numbers is 64 KB: three are on their way to a multiprocessor at the same
// time), so that it is read once, for the sum and for the gradient. Only rows longer than 160 KB, 81,920 bf16 numbers,
// are read twice.
//
// The exponentials are powers of two, e^(z - max) = 2^(z·log2 e - max2) with max2 = max·log2 e rounded to fp32: the
// same max2 in every place, so its rounding cancels, and one fused multiply-add comes before each exponential. Maximum
// and sum are found in one pass: a thread's sum is relative to the largest number it has seen, and scaled down when a
// larger one comes.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/vector.h"

#include <algorithm>

namespace templar::cuda {

namespace {

constexpr int max_threads = 512;
constexpr int64_t max_row_bytes = 160 << 10;  // a block can have 163 KB on sm_80, 227 KB on sm_90
constexpr float infinity = INFINITY;

struct alignas(16) CrossEntropyStorage {
    BlockReduce<float> max, sum;
    // Behind it: the row's packs, each for the thread that copied it.
};

// A row of V numbers and who has which: thread t has packs t, t + threads, … and, as V may be odd and the row need not
// start on 16 bytes, one of the up to 2·(n - 1) numbers outside of the packs.
template <class T>
struct Row {
    static constexpr int n = pack_size<T>;
    T* begin;
    int vocab;
    int lead;   // numbers before the first pack
    int packs;  // whole ones

    __device__ __forceinline__ Row(T* row, int length) : begin(row), vocab(length) {
        const int past = static_cast<int>(reinterpret_cast<uintptr_t>(row) % 16 / sizeof(T));
        lead = past == 0 ? 0 : n - past;
        if (lead > vocab) lead = vocab;
        packs = (vocab - lead) / n;
    }
    __device__ __forceinline__ T* pack(int p) const { return begin + lead + p * n; }
    // This thread's number outside of the packs; -1: none.
    __device__ __forceinline__ int odd() const {
        const int t = static_cast<int>(threadIdx.x);
        if (t < lead) return t;
        const int v = packs * n + t;  // the numbers after the last pack, from thread `lead` on
        return v < vocab ? v : -1;
    }
    // The thread that has number v.
    __device__ __forceinline__ int thread_of(int v) const {
        if (v < lead) return v;
        const int p = (v - lead) / n;
        return p < packs ? p % static_cast<int>(blockDim.x) : v - packs * n;
    }
};

// 2^(z·log2 e - max2)
__device__ __forceinline__ float power(float z, float max2) { return exp2_approx(fmaf(z, log2_e, -max2)); }

// Σ 2^(z·log2 e - max2) over the numbers z a thread has seen, max2 the largest z·log2 e of them.
struct Sum {
    float max2 = -infinity, sum = 0;

    template <int n>
    __device__ __forceinline__ void add(const Floats<n>& z) {
        float largest = z[0];
        for (int j = 1; j < n; ++j) largest = fmaxf(largest, z[j]);
        // Every number -inf so far: powers of -inf - -inf would be NaN. A NaN goes on, into the sum.
        if (max2 == -infinity && largest == -infinity) return;
        const float next = fmaxf(max2, log2_e * largest);
        sum *= exp2_approx(max2 - next);
        for (int j = 0; j < n; ++j) sum += power(z[j], next);
        max2 = next;
    }
};

// One block for each row. in_shared: its packs are in shared memory.
template <class T, bool gradient, bool in_shared>
__global__ void __launch_bounds__(max_threads, 3)
    cross_entropy_kernel(float* losses, uint8_t* greedy, T* logits, const int32_t* labels, float scale, int vocab) {
    constexpr int n = pack_size<T>;
    CrossEntropyStorage& shared = shared_storage<CrossEntropyStorage>();
    Pack<T>* const copied = reinterpret_cast<Pack<T>*>(&shared + 1);
    const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
    const Row<T> row(logits + int64_t{blockIdx.x} * vocab, vocab);
    const int odd = row.odd(), label = labels[blockIdx.x];

    if (label < 0) {
        if (thread == 0) {
            losses[blockIdx.x] = 0;
            if (greedy) greedy[blockIdx.x] = 0;
        }
        if constexpr (gradient) {
            for (int p = thread; p < row.packs; p += threads) store(row.pack(p), Floats<n>{});
            if (odd >= 0) row.begin[odd] = from_float<T>(0.0f);
        }
        return;
    }

    const auto logits_of_pack = [&](int p) { return widen(in_shared ? copied[p] : load_pack<n>(row.pack(p))); };
    if constexpr (in_shared) {
        for (int p = thread; p < row.packs; p += threads) copy_async_16(copied + p, row.pack(p));
        commit_copies();
    }
    const float label_logit = to_float(row.begin[label]);
    const float odd_logit = odd >= 0 ? to_float(row.begin[odd]) : -infinity;
    Sum own;
    own.add(Floats<1>{odd_logit});
    wait_for_copies<0>();  // a thread's own, and it reads no other's
    for (int p = thread; p < row.packs; p += threads) own.add(logits_of_pack(p));
    const float max2 = block_max(own.max2, shared.max);
    const float sum = block_sum(own.sum * exp2_approx(own.max2 - max2), shared.sum);
    if (thread == 0) {
        const double above_label =
            static_cast<double>(max2) - static_cast<double>(label_logit) * static_cast<double>(log2_e);
        losses[blockIdx.x] = logf(sum) + static_cast<float>(ln_2 * above_label);
        if (greedy) greedy[blockIdx.x] = log2_e * label_logit >= max2;
    }

    if constexpr (gradient) {
        const float factor = scale / sum;
        for (int p = thread; p < row.packs; p += threads) {
            Floats<n> z = logits_of_pack(p);
            for (int j = 0; j < n; ++j) z[j] = factor * power(z[j], max2);
            store(row.pack(p), z);
        }
        if (odd >= 0) row.begin[odd] = from_float<T>(factor * power(odd_logit, max2));
        // By the thread that just wrote the label's pack, so after that.
        if (thread == row.thread_of(label)) row.begin[label] = from_float<T>(factor * power(label_logit, max2) - scale);
    }
}

template <bool gradient>
void cross_entropy(Stream& stream, const char* name, Tensor losses, Tensor greedy, Tensor logits, Tensor labels,
                   float scale) {
    require_type(name, DType::f32, {losses});
    require_type(name, DType::u8, {greedy});
    require_type(name, DType::i32, {labels});
    const int64_t rows = labels.numel(), vocab = logits.last();
    if (rows == 0) return;
    require(name, vocab > 0 && vocab < int64_t{1} << 30, "between 1 and 2^30 logits in a row");
    with_compute_type(name, logits.dtype, [&]<class T>() {
        const int64_t packs = vocab / pack_size<T>, row_bytes = packs * int64_t{sizeof(Pack<T>)};
        const bool in_shared = row_bytes <= max_row_bytes;
        const int64_t threads = std::clamp<int64_t>(round_up(packs, 32), 32, max_threads);
        const auto kernel =
            in_shared ? cross_entropy_kernel<T, gradient, true> : cross_entropy_kernel<T, gradient, false>;
        const int64_t shared_bytes = int64_t{sizeof(CrossEntropyStorage)} + (in_shared ? row_bytes : 0);
        launch(stream, name, grid_of(rows), grid_of(threads), static_cast<size_t>(shared_bytes), kernel, losses.f32(),
               greedy.u8(), data<T>(logits), labels.i32(), scale, static_cast<int>(vocab));
    });
}

}  // namespace

void cross_entropy_forward(Stream& stream, Tensor losses, Tensor logits, Tensor labels) {
    cross_entropy<false>(stream, "cross_entropy_forward", losses, {}, logits, labels, 0.0f);
}

void cross_entropy_and_greedy(Stream& stream, Tensor losses, Tensor greedy, Tensor logits, Tensor labels) {
    cross_entropy<false>(stream, "loss_eval", losses, greedy, logits, labels, 0.0f);
}

void cross_entropy_fused(Stream& stream, Tensor losses, Tensor logits, Tensor labels, float scale) {
    cross_entropy<true>(stream, "cross_entropy_fused", losses, {}, logits, labels, scale);
}

}  // namespace templar::cuda
