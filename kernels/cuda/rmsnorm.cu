// y = x·w·rstd, rstd = 1/sqrt(mean(x²) + eps); with a residual: x = sum = a + b, rounded to the compute type, as the
// backward pass will read it.
// With z = x·rstd: dx = rstd·(w·dy - z·mean(w·dy·z)) + dresidual, dw += Σ_rows dy·z.
//
//     x, a, b, sum, y, dx, dy, dresidual (N, C), weight (C), rstd (N) fp32, dweight (C) fp32
//
// Bound by memory: 2 (with the residual 4) passes over (N, C) forward, 4 (without dresidual 3) backward. A warp holds a
// row in its registers, so that nothing is read twice and no warp waits for another; rows too long for that are read
// twice, the second time mostly from a cache.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/vector.h"

#include <algorithm>

namespace templar::cuda {

namespace {

// ---- forward ------------------------------------------------------------------------------------------------------

constexpr int forward_warps = 8;

// One warp for each row of at most 32·n·packs channels; lane l has packs l, l + 32, …
template <class T, int n, int packs, bool add>
__global__ void __launch_bounds__(32 * forward_warps)
    forward_kernel(T* sum, T* y, float* rstd, const T* a, const T* b, const T* __restrict__ weight, float eps,
                   int64_t rows, int channels) {
    const int64_t row = int64_t{blockIdx.x} * forward_warps + threadIdx.x / 32;
    if (row >= rows) return;
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int64_t begin = row * channels;

    Pack<T, n> x[packs] = {};
    Pack<T, n> other[add ? packs : 1] = {};
    for (int p = 0; p < packs; ++p) {
        const int c = (32 * p + lane) * n;
        if (c >= channels) continue;
        x[p] = load_pack<n>(a + begin + c);
        if constexpr (add) other[p] = load_pack<n>(b + begin + c);
    }
    float squares = 0;
    for (int p = 0; p < packs; ++p) {
        const int c = (32 * p + lane) * n;
        Floats<n> v = widen(x[p]);
        if constexpr (add) {
            const Floats<n> w = widen(other[p]);
            for (int j = 0; j < n; ++j) v[j] += w[j];
            x[p] = narrow<T>(v);
            if (c < channels) store_pack(sum + begin + c, x[p]);
            v = widen(x[p]);
        }
        for (int j = 0; j < n; ++j) squares += v[j] * v[j];
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(channels) + eps);
    if (lane == 0) rstd[row] = scale;
    for (int p = 0; p < packs; ++p) {
        const int c = (32 * p + lane) * n;
        if (c >= channels) continue;
        Floats<n> v = widen(x[p]);
        const Floats<n> w = load<n>(weight + c);
        for (int j = 0; j < n; ++j) v[j] = v[j] * scale * w[j];
        store(y + begin + c, v);
    }
}

// The same for rows of any length.
template <class T, int n, bool add>
__global__ void __launch_bounds__(32 * forward_warps)
    forward_long_kernel(T* sum, T* y, float* rstd, const T* a, const T* b, const T* __restrict__ weight, float eps,
                        int64_t rows, int channels) {
    const int64_t row = int64_t{blockIdx.x} * forward_warps + threadIdx.x / 32;
    if (row >= rows) return;
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int64_t begin = row * channels;

    float squares = 0;
    for (int c = lane * n; c < channels; c += 32 * n) {
        Floats<n> v = load<n>(a + begin + c);
        if constexpr (add) {
            const Floats<n> w = load<n>(b + begin + c);
            for (int j = 0; j < n; ++j) v[j] += w[j];
            const Pack<T, n> rounded = narrow<T>(v);
            store_pack(sum + begin + c, rounded);
            v = widen(rounded);
        }
        for (int j = 0; j < n; ++j) squares += v[j] * v[j];
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(channels) + eps);
    if (lane == 0) rstd[row] = scale;
    const T* const x = add ? sum : a;  // where a lane reads what it wrote itself
    for (int c = lane * n; c < channels; c += 32 * n) {
        Floats<n> v = load<n>(x + begin + c);
        const Floats<n> w = load<n>(weight + c);
        for (int j = 0; j < n; ++j) v[j] = v[j] * scale * w[j];
        store(y + begin + c, v);
    }
}

// ---- backward -----------------------------------------------------------------------------------------------------

// Two for each of the four schedulers: a lane needs about 200 registers for its part of a row of x, dy and dresidual,
// and of the sum for dweight in fp32. With C = 2048 each warp has 12 KB on their way, which hides the memory's latency.
constexpr int backward_warps = 8;

template <int channels>
struct BackwardStorage {
    float dweight[channels];
};

// One block for each multiprocessor, one warp at a time for each row of at most 32·n·packs channels. partial (blocks,
// C): the block's share of dweight.
template <class T, int n, int packs>
__global__ void __launch_bounds__(32 * backward_warps, 1)
    backward_kernel(T* dx, float* partial, const T* dy, const T* dresidual, const T* x, const T* __restrict__ weight,
                    const float* rstd, int64_t rows, int channels) {
    auto& shared = shared_storage<BackwardStorage<32 * n * packs>>();
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);

    Floats<n> dweight[packs] = {};
    for (int64_t row = int64_t{blockIdx.x} * backward_warps + warp; row < rows;
         row += int64_t{gridDim.x} * backward_warps) {
        const int64_t begin = row * channels;
        const float scale = rstd[row];
        Pack<T, n> xs[packs] = {}, dys[packs] = {}, residuals[packs] = {};
        for (int p = 0; p < packs; ++p) {
            const int c = (32 * p + lane) * n;
            if (c >= channels) continue;
            xs[p] = load_pack<n>(x + begin + c);
            dys[p] = load_pack<n>(dy + begin + c);
            if (dresidual) residuals[p] = load_pack<n>(dresidual + begin + c);  // before any store: dx may lie there
        }
        float dot = 0;
        for (int p = 0; p < packs; ++p) {
            const int c = (32 * p + lane) * n;
            if (c >= channels) continue;
            const Floats<n> v = widen(xs[p]), d = widen(dys[p]), w = load<n>(weight + c);
            for (int j = 0; j < n; ++j) {
                dot += w[j] * d[j] * v[j];
                dweight[p][j] += d[j] * (v[j] * scale);
            }
        }
        const float pull = warp_sum(dot) * scale * scale * scale / static_cast<float>(channels);
        for (int p = 0; p < packs; ++p) {
            const int c = (32 * p + lane) * n;
            if (c >= channels) continue;
            const Floats<n> v = widen(xs[p]), d = widen(dys[p]), w = load<n>(weight + c);
            Floats<n> out = widen(residuals[p]);
            for (int j = 0; j < n; ++j) out[j] += w[j] * d[j] * scale - v[j] * pull;
            store(dx + begin + c, out);
        }
    }

    // The warps' sums, one after another.
    for (int turn = 0; turn < backward_warps; ++turn) {
        if (warp == turn)
            for (int p = 0; p < packs; ++p)
                for (int j = 0; j < n; ++j) {
                    float& sum = shared.dweight[(32 * p + lane) * n + j];
                    sum = turn == 0 ? dweight[p][j] : sum + dweight[p][j];
                }
        __syncthreads();
    }
    for (int c = static_cast<int>(threadIdx.x); c < channels; c += 32 * backward_warps)
        partial[int64_t{blockIdx.x} * channels + c] = shared.dweight[c];
}

constexpr int long_threads = 256;

struct LongStorage {
    BlockReduce<float> dot;
};

// The same for rows of any length: a block for each row, its share of dweight in memory, where thread t alone has
// channels n·t, n·(t + 256), …
template <class T, int n>
__global__ void __launch_bounds__(long_threads)
    backward_long_kernel(T* dx, float* partial, const T* dy, const T* dresidual, const T* x,
                         const T* __restrict__ weight, const float* rstd, int64_t rows, int channels) {
    LongStorage& shared = shared_storage<LongStorage>();
    const int first = static_cast<int>(threadIdx.x) * n;
    constexpr int stride = long_threads * n;

    partial += int64_t{blockIdx.x} * channels;
    for (int c = first; c < channels; c += stride) store(partial + c, Floats<n>{});
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const int64_t begin = row * channels;
        const float scale = rstd[row];
        float dot = 0;
        for (int c = first; c < channels; c += stride) {
            const Floats<n> v = load<n>(x + begin + c), d = load<n>(dy + begin + c), w = load<n>(weight + c);
            Floats<n> dweight = load<n>(partial + c);
            for (int j = 0; j < n; ++j) {
                dot += w[j] * d[j] * v[j];
                dweight[j] += d[j] * (v[j] * scale);
            }
            store(partial + c, dweight);
        }
        const float pull = block_sum(dot, shared.dot) * scale * scale * scale / static_cast<float>(channels);
        for (int c = first; c < channels; c += stride) {
            const Floats<n> v = load<n>(x + begin + c), d = load<n>(dy + begin + c), w = load<n>(weight + c);
            Floats<n> out = {};
            if (dresidual) out = load<n>(dresidual + begin + c);
            for (int j = 0; j < n; ++j) out[j] += w[j] * d[j] * scale - v[j] * pull;
            store(dx + begin + c, out);
        }
        __syncthreads();  // shared.dot is free again
    }
}

constexpr int sum_lanes = 8;  // threads for each channel

struct SumStorage {
    float sums[sum_lanes][32];
};

// dweight += the blocks' shares: thread (c, l) adds those of blocks l, l + 8, …, then thread (c, 0) the eight sums.
__global__ void __launch_bounds__(32 * sum_lanes)
    add_partials(float* dweight, const float* partial, int blocks, int channels) {
    SumStorage& shared = shared_storage<SumStorage>();
    const int c = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
    float sum = 0;
    if (c < channels)
        for (int b = static_cast<int>(threadIdx.y); b < blocks; b += sum_lanes)
            sum += partial[int64_t{b} * channels + c];
    shared.sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || c >= channels) return;
    for (int l = 1; l < sum_lanes; ++l) sum += shared.sums[l][threadIdx.x];
    dweight[c] += sum;
}

// run.operator()<packs>() with the fewest packs in which the 32 lanes hold a row, 0 where `most` are too few.
template <int n, int most, class Run>
void with_packs(int64_t channels, Run&& run) {
    if (channels <= 32 * n * 4) run.template operator()<4>();
    else if (channels <= 32 * n * 8) run.template operator()<8>();
    else if (most == 16 && channels <= 32 * n * 16) run.template operator()<most>();
    else run.template operator()<0>();
}

void forward(Stream& stream, const char* name, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight,
             float eps) {
    require_type(name, y.dtype, {sum, a, b, weight});
    require_type(name, DType::f32, {rstd});
    const int64_t rows = a.rows(), channels = a.last();
    if (rows == 0) return;
    require(name, channels <= INT32_MAX / 64, "rows of at most 2^25 channels");
    with_compute_type(name, y.dtype, [&]<class T>() {
        const auto run = [&]<int n, int packs, bool add>() {
            void (*kernel)(T*, T*, float*, const T*, const T*, const T*, float, int64_t, int);
            if constexpr (packs > 0) kernel = forward_kernel<T, n, packs, add>;
            else kernel = forward_long_kernel<T, n, add>;
            launch(stream, name, grid_of(ceil_div(rows, forward_warps)), 32 * forward_warps, 0, kernel, data<T>(sum),
                   data<T>(y), rstd.f32(), data<T>(a), data<T>(b), data<T>(weight), eps, rows,
                   static_cast<int>(channels));
        };
        const auto with_add = [&]<int n, int packs>() {
            if (b) run.template operator()<n, packs, true>();
            else run.template operator()<n, packs, false>();
        };
        constexpr int n = pack_size<T>;
        if (whole_packs<T>(channels, sum.data, y.data, a.data, b.data, weight.data))
            with_packs<n, 16>(channels, [&]<int packs>() { with_add.template operator()<n, packs>(); });
        else with_add.template operator()<1, 0>();
    });
}

}  // namespace

void rmsnorm_forward(Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
    forward(stream, "rmsnorm_forward", {}, y, rstd, x, {}, weight, eps);
}

void add_rmsnorm_forward(Stream& stream, Tensor sum, Tensor y, Tensor rstd, Tensor a, Tensor b, Tensor weight,
                         float eps) {
    forward(stream, "add_rmsnorm_forward", sum, y, rstd, a, b, weight, eps);
}

void rmsnorm_backward(Stream& stream, Tensor dx, Tensor dweight, Tensor dy, Tensor dresidual, Tensor x, Tensor weight,
                      Tensor rstd) {
    constexpr const char* name = "rmsnorm_backward";
    require_type(name, dx.dtype, {dy, dresidual, x, weight});
    require_type(name, DType::f32, {dweight, rstd});
    const int64_t rows = x.rows(), channels = x.last();
    if (rows == 0) return;
    require(name, channels <= INT32_MAX / 64, "rows of at most 2^25 channels");
    int64_t blocks = 0;
    float* partial = nullptr;
    with_compute_type(name, dx.dtype, [&]<class T>() {
        const auto run = [&]<int n, int packs>() {
            void (*kernel)(T*, float*, const T*, const T*, const T*, const T*, const float*, int64_t, int);
            int64_t threads, shared_bytes;
            if constexpr (packs > 0) {
                kernel = backward_kernel<T, n, packs>;
                threads = 32 * backward_warps;
                shared_bytes = sizeof(BackwardStorage<32 * n * packs>);
                blocks = std::min<int64_t>(ceil_div(rows, backward_warps), stream.cuda->multiprocessors);
            } else {
                kernel = backward_long_kernel<T, n>;
                threads = long_threads;
                shared_bytes = sizeof(LongStorage);
                blocks = std::min<int64_t>(rows, 4 * stream.cuda->multiprocessors);
            }
            partial = static_cast<float*>(scratch(stream, blocks * channels * int64_t{sizeof(float)}));
            launch(stream, name, grid_of(blocks), grid_of(threads), static_cast<size_t>(shared_bytes), kernel,
                   data<T>(dx), partial, data<T>(dy), data<T>(dresidual), data<T>(x), data<T>(weight), rstd.f32(), rows,
                   static_cast<int>(channels));
        };
        constexpr int n = pack_size<T>;
        if (whole_packs<T>(channels, dx.data, dy.data, dresidual.data, x.data, weight.data))
            with_packs<n, 8>(channels, [&]<int packs>() { run.template operator()<n, packs>(); });
        else run.template operator()<1, 0>();
    });
    launch(stream, name, grid_of(ceil_div(channels, 32)), dim3(32, sum_lanes), sizeof(SumStorage), add_partials,
           dweight.f32(), partial, static_cast<int>(blocks), static_cast<int>(channels));
}

}  // namespace templar::cuda
