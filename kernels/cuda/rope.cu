// Rotary embedding: the pair (x_j, x_{j+D/2}) of a head is turned by the angle position·theta^(-2j/D) (Su et al. 2021,
// half-split pairing), in place; backward turns by the opposite angle.
//
//     x (B, T, heads, D), of which the first `rotated` heads are turned; table (P, D/2, 2) fp32: cos, sin
//
// Bound by memory: reads and writes B·T·rotated·D numbers. A thread turns the same pairs of every head, so that it
// reads the table once (from the second-level cache: all positions take 2 MB at P = 2048, D = 256).
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/vector.h"

#include <algorithm>
#include <cmath>

namespace templar::cuda {

namespace {

constexpr int block_threads = 256;

// In double, as on the CPU: at position 100,000 an angle in fp32 would be wrong in its third digit.
__global__ void __launch_bounds__(block_threads)
    table_kernel(float* table, double theta, int64_t positions, int64_t half) {
    const int64_t index = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (index >= positions * half) return;
    const int64_t position = index / half, j = index % half;
    const double angle =
        static_cast<double>(position) * pow(theta, -static_cast<double>(j) / static_cast<double>(half));
    table[2 * index] = static_cast<float>(cos(angle));
    table[2 * index + 1] = static_cast<float>(sin(angle));
}

// Block (batch row, part), thread (step, r): pairs n·step … of every head, at place r of the part. direction: +1
// forward, -1 back.
template <class T, int n>
__global__ void __launch_bounds__(block_threads)
    rotate_kernel(T* x, const float* table, const int32_t* positions, int64_t sequence, int heads, int rotated,
                  int half, float direction) {
    const int64_t place = int64_t{blockIdx.y} * blockDim.y + threadIdx.y;
    if (place >= sequence) return;
    const int64_t row = blockIdx.x * sequence + place;
    const int64_t position = positions ? positions[row] : place;
    for (int j = static_cast<int>(threadIdx.x) * n; j < half; j += static_cast<int>(blockDim.x) * n) {
        const float* const pairs = table + (position * half + j) * 2;
        Floats<2 * n> angle{pairs[0], pairs[1]};
        if constexpr (n > 1) angle = load<2 * n>(pairs);
        T* low = x + row * heads * half * 2 + j;
        for (int h = 0; h < rotated; ++h, low += 2 * half) {
            Floats<n> a = load<n>(low), b = load<n>(low + half);
            for (int i = 0; i < n; ++i) {
                const float cosine = angle[2 * i], sine = direction * angle[2 * i + 1];
                const float turned = a[i] * cosine - b[i] * sine;
                b[i] = b[i] * cosine + a[i] * sine;
                a[i] = turned;
            }
            store(low, a);
            store(low + half, b);
        }
    }
}

void rotate(Stream& stream, const char* name, Tensor x, Tensor table, Tensor positions, int64_t rotated,
            float direction) {
    require_type(name, DType::f32, {table});
    require_type(name, DType::i32, {positions});
    require(name, x.rank == 4 && x.shape[3] % 2 == 0, "x of shape (B, T, heads, even D)");
    require(name, rotated <= x.shape[2], "no more rotated heads than there are");
    require(name, positions || x.shape[1] <= table.shape[0], "a table of T positions");
    require(name, table.last() == 2 && 2 * table.shape[1] == x.shape[3], "a table of shape (P, D/2, 2)");
    const int64_t batch = x.shape[0], sequence = x.shape[1], half = x.shape[3] / 2;
    if (x.numel() == 0) return;
    with_compute_type(name, x.dtype, [&]<class T>() {
        with_width<T>(whole_packs<T>(half, x.data, table.data), [&]<int n>() {
            const int64_t steps = std::min<int64_t>(half / n, block_threads), places = block_threads / steps;
            launch(stream, name, grid_of(batch, ceil_div(sequence, places)), grid_of(steps, places), 0,
                   rotate_kernel<T, n>, data<T>(x), table.f32(), positions.i32(), sequence,
                   static_cast<int>(x.shape[2]), static_cast<int>(rotated), static_cast<int>(half), direction);
        });
    });
}

}  // namespace

void rope_table(Stream& stream, Tensor table, float theta) {
    require_type("rope_table", DType::f32, {table});
    const int64_t positions = table.shape[0], half = table.shape[1];
    if (table.numel() == 0) return;
    launch(stream, "rope_table", grid_of(ceil_div(positions * half, block_threads)), block_threads, 0, table_kernel,
           table.f32(), static_cast<double>(theta), positions, half);
}

void rope_forward(Stream& stream, Tensor x, Tensor table, Tensor positions, int64_t rotated) {
    rotate(stream, "rope_forward", x, table, positions, rotated, 1.0f);
}

void rope_backward(Stream& stream, Tensor dx, Tensor table, Tensor positions, int64_t rotated) {
    rotate(stream, "rope_backward", dx, table, positions, rotated, -1.0f);
}

}  // namespace templar::cuda
