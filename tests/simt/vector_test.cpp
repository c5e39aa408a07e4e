// kernels/cuda/vector.h and reduce.h: the smallest kernels that use them.
#include "kernels/bf16.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/vector.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

using namespace templar;
using namespace templar::cuda;

namespace {

template <class T, int n>
void narrow_kernel(T* to, const float* from) {
    store(to + threadIdx.x * n, load<n>(from + threadIdx.x * n, Use::streaming), Use::streaming);
}
template <class T, int n>
void widen_kernel(float* to, const T* from) {
    store(to + threadIdx.x * n, load<n>(from + threadIdx.x * n));
}

// fp32 -> bf16 -> fp32, n at a time.
template <int n>
std::vector<float> rounded(const std::vector<float>& values) {
    const unsigned threads = static_cast<unsigned>(values.size()) / n;
    std::vector<__nv_bfloat16> narrowed(values.size());
    std::vector<float> widened(values.size());
    simt::launch("narrow", 1, threads, 0, narrow_kernel<__nv_bfloat16, n>, narrowed.data(), values.data());
    simt::launch("widen", 1, threads, 0, widen_kernel<__nv_bfloat16, n>, widened.data(), narrowed.data());
    return widened;
}

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

struct ReduceStorage {
    BlockReduce<double> sum;
    BlockReduce<float> max;
};
void reduce_kernel(double* sums, float* maxima, const float* values) {
    ReduceStorage& shared = shared_storage<ReduceStorage>();
    sums[threadIdx.x] = block_sum(static_cast<double>(values[threadIdx.x]), shared.sum);
    maxima[threadIdx.x] = block_max(values[threadIdx.x], shared.max);
}

}  // namespace

TEST_CASE("packs of every width round as the host does") {
    constexpr float inf = std::numeric_limits<float>::infinity();
    std::vector<float> values{0.0f, -0.0f, inf, -inf, std::nanf(""), 1.0f, 3.4e38f, -3.4e38f, 1e-40f, -1e-45f};
    // Around ties: halfway to the next bf16, above an even and above an odd one, and a bit to either side.
    for (uint32_t high : {0x3f80u, 0x3f81u, 0x7f7fu, 0x0001u, 0xbf81u})
        for (uint32_t low : {0x7fffu, 0x8000u, 0x8001u}) values.push_back(std::bit_cast<float>(high << 16 | low));
    while (values.size() % 16) values.push_back(static_cast<float>(values.size()) / 3);
    for (const std::vector<float>& result :
         {rounded<1>(values), rounded<2>(values), rounded<4>(values), rounded<8>(values)})
        for (size_t i = 0; i < values.size(); ++i) {
            CAPTURE(values[i]);
            CHECK(same_bits(result[i], to_float(to_bf16(values[i]))));
        }
}

TEST_CASE("sums and maxima over a block reach every thread, whatever the number of warps") {
    for (int warps : {1, 2, 7, 32})
        for (auto schedule : {simt::Schedule::fifo, simt::Schedule::reversed, simt::Schedule::random}) {
            simt::schedule = schedule;
            const size_t threads = static_cast<size_t>(32 * warps);
            std::vector<float> values(threads), maxima(threads);
            std::iota(values.begin(), values.end(), -5000.0f);
            std::vector<double> sums(threads);
            simt::launch("reduce", 1, static_cast<unsigned>(threads), sizeof(ReduceStorage), reduce_kernel, sums.data(),
                         maxima.data(), values.data());
            for (size_t t = 0; t < threads; ++t) {
                CHECK(sums[t] == std::accumulate(values.begin(), values.end(), 0.0));
                CHECK(maxima[t] == values.back());
            }
        }
    simt::schedule = simt::Schedule::fifo;
}
