// act = silu(gate)·up, silu(g) = g·s, s = 1/(1 + e^-g).
// d(gate) = dact·up·s·(1 + g·(1 - s)), d(up) = dact·g·s.
//
//     act, dact (N, F), gate_up, dgate_up (N, 2F): gate in the first F columns. dgate_up may be gate_up itself.
//
// Bound by memory: 3·N·F numbers forward, 5·N·F backward. One exponential and one reciprocal for each act, by the
// hardware's approximations: with IEEE division the arithmetic would take about as long as the memory.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/fast_math.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.h"

namespace templar::cuda {

namespace {

constexpr int max_threads = 256;

__device__ __forceinline__ float sigmoid(float x) { return reciprocal_approx(1.0f + exp2_approx(-log2_e * x)); }

// Block (i, part): `part` of row i, one step of n features for each thread.
template <class T, int n>
__global__ void __launch_bounds__(max_threads) forward_kernel(T* act, const T* gate_up, int64_t features) {
    const int64_t row = blockIdx.x;
    const int64_t feature = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
    if (feature >= features) return;
    const T* const gate = gate_up + row * 2 * features + feature;
    const Floats<n> g = load<n>(gate), u = load<n>(gate + features);
    Floats<n> out;
    for (int j = 0; j < n; ++j) out[j] = g[j] * sigmoid(g[j]) * u[j];
    store(act + row * features + feature, out);
}

template <class T, int n>
__global__ void __launch_bounds__(max_threads)
    backward_kernel(T* dgate_up, const T* dact, const T* gate_up, int64_t features) {
    const int64_t row = blockIdx.x;
    const int64_t feature = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * n;
    if (feature >= features) return;
    const int64_t place = row * 2 * features + feature;
    const Floats<n> g = load<n>(gate_up + place), u = load<n>(gate_up + place + features);
    const Floats<n> d = load<n>(dact + row * features + feature, Use::streaming);
    Floats<n> dgate, dup;
    for (int j = 0; j < n; ++j) {
        const float s = sigmoid(g[j]);
        dgate[j] = d[j] * u[j] * s * (1.0f + g[j] * (1.0f - s));
        dup[j] = d[j] * g[j] * s;
    }
    store(dgate_up + place, dgate);
    store(dgate_up + place + features, dup);
}

}  // namespace

void swiglu_forward(Stream& stream, Tensor act, Tensor gate_up) {
    constexpr const char* name = "swiglu_forward";
    require_type(name, act.dtype, {gate_up});
    const int64_t rows = act.rows(), features = act.last();
    if (rows == 0) return;
    with_compute_type(name, act.dtype, [&]<class T>() {
        with_width<T>(whole_packs<T>(features, act.data, gate_up.data), [&]<int n>() {
            const auto [grid, block] = row_grid(rows, ceil_div(features, n), max_threads);
            launch(stream, name, grid, block, 0, forward_kernel<T, n>, data<T>(act), data<T>(gate_up), features);
        });
    });
}

void swiglu_backward(Stream& stream, Tensor dgate_up, Tensor dact, Tensor gate_up) {
    constexpr const char* name = "swiglu_backward";
    require_type(name, dgate_up.dtype, {dact, gate_up});
    const int64_t rows = dact.rows(), features = dact.last();
    if (rows == 0) return;
    with_compute_type(name, dgate_up.dtype, [&]<class T>() {
        with_width<T>(whole_packs<T>(features, dgate_up.data, dact.data, gate_up.data), [&]<int n>() {
            const auto [grid, block] = row_grid(rows, ceil_div(features, n), max_threads);
            launch(stream, name, grid, block, 0, backward_kernel<T, n>, data<T>(dgate_up), data<T>(dact),
                   data<T>(gate_up), features);
        });
    });
}

}  // namespace templar::cuda
