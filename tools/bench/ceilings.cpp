#include "tools/bench/bench.h"

#include <fmt/core.h>

#include <algorithm>

namespace templar::bench {

namespace {

OpCase square_product(DType compute, int64_t edge) {
    const auto values = [=](uint64_t seed) { return [=] { return normal_values(edge * edge, seed); }; };
    return {.op = "matmul",
            .shape = "square",
            .tensors = {{"c", compute, Role::output, {edge, edge}},
                        {"a", compute, Role::input, {edge, edge}, values(1)},
                        {"b", compute, Role::input, {edge, edge}, values(2)}},
            .run = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.matmul(stream, t["c"], t["a"], false, t["b"], true, false);
            }};
}

// On the CPU as many threads copy as compute.
void copy_on_threads(const float* from, float* to, int64_t count, int threads) {
    constexpr int64_t piece = 1 << 16;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t begin = 0; begin < count; begin += piece)
        std::copy_n(from + begin, std::min(piece, count - begin), to + begin);
}

}  // namespace

std::string rate_text(Bound bound, double per_second) {
    const bool compute = bound == Bound::compute;
    if (compute && per_second >= 1e13) return fmt::format("{:.1f} TFLOP/s", per_second * 1e-12);
    return fmt::format("{:.1f} {}", per_second * 1e-9, compute ? "GFLOP/s" : "GB/s");
}

Ceilings measure_ceilings(Device& device, Stopwatch& stopwatch) {
    const bool gpu = !device.shares_host_memory();
    Ceilings ceilings;
    ceilings.edge = gpu ? 8192 : 2048;
    const OpCase product = square_product(device.compute_type(), ceilings.edge);
    {
        PreparedCase prepared(device, product);
        const double edge = static_cast<double>(ceilings.edge);
        ceilings.flops = 2 * edge * edge * edge / stopwatch.measure([&] { prepared.enqueue(); }).best;
    }
    const int64_t count = int64_t{gpu ? 256 : 32} << 20;
    const DeviceArray from(device, normal_values(count, 3)), to(device, DType::f32, count);
    const auto copy = [&] {
        if (gpu)
            device.copy(device.stream(), to.tensor().data, from.tensor().data, to.tensor().bytes());
        else
            copy_on_threads(from.tensor().f32(), to.tensor().f32(), count, device.stream().threads);
    };
    ceilings.bytes = 2.0 * sizeof(float) * static_cast<double>(count) / stopwatch.measure(copy).best;
    if (!gpu) {
        const DeviceArray zeros(device, DType::f32, int64_t{64} << 20);  // more than caches hold
        const auto read = [&] { device.ops().sum_of_squares(device.stream(), zeros.tensor()); };
        ceilings.read = static_cast<double>(zeros.tensor().bytes()) / stopwatch.measure(read).best;
    }
    return ceilings;
}

}  // namespace templar::bench
