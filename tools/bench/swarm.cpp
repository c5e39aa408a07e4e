// What a swarm asks of a machine beside training: compressing a gradient, applying a window's payloads, checking a
// stranger's.
#include "base/error.h"
#include "engine/compress/layout.h"
#include "engine/optim/demo.h"
#include "engine/replica/replica.h"
#include "tools/bench/bench.h"

#include <algorithm>

namespace templar::bench {

namespace {

constexpr int64_t peers = 15;

using Payload = std::vector<uint8_t>;

Layout layout_of(const LlamaConfig& config) {
    return make_layout(llama_parameters(config), {});
}

// A gradient and the momentum it is added to.
struct Compression {
    DeviceArray grads;
    Demo demo;

    Compression(Device& device, const Layout& layout)
        : grads(device, normal_values(layout.parameters, 1)), demo(device, layout, 0.999f) {}
    void step(Payload& payload) { demo.step(grads.tensor(), 1e-3f, 1.0f, payload); }
};

// Payloads that differ: what was sent is missing from the next.
std::vector<Payload> make_payloads(Device& device, const Layout& layout, int64_t count) {
    Compression compression(device, layout);
    std::vector<Payload> payloads(static_cast<size_t>(count), Payload(static_cast<size_t>(layout.payload_bytes)));
    for (Payload& payload : payloads) compression.step(payload);
    return payloads;
}

Figure per_parameter(Timing time, const Layout& layout, double bytes_per_parameter) {
    const auto parameters = static_cast<double>(layout.parameters);
    return {.time = time,
            .bound = Bound::memory,
            .work = bytes_per_parameter * parameters,
            .items = parameters,
            .item = "params",
            .details = {{"parameters", layout.parameters}}};
}

Figure demo_step(const Context& context) {
    const Layout layout = layout_of(context.model.config);
    Compression compression(context.device, layout);
    Payload payload(static_cast<size_t>(layout.payload_bytes));
    // The gradient is read for its norm and again, the momentum read and written.
    return per_parameter(context.stopwatch.measure([&] { compression.step(payload); }), layout, 16);
}

Figure replica_apply(const Context& context) {
    const Layout layout = layout_of(context.model.config);
    const std::vector<Payload> payloads = make_payloads(context.device, layout, peers);
    const std::vector<std::span<const uint8_t>> views(payloads.begin(), payloads.end());
    Replica replica(context.device, layout, normal_values(layout.parameters, 2, 0.02));
    // theta is read and written, its rounded copy written, theta read again for the root.
    const double copy = context.device.compute_type() == DType::f32 ? 0 : 2;
    return per_parameter(context.stopwatch.measure([&] { replica.apply({1e-3f, 1.0f}, views); }), layout, 12 + copy);
}

Figure candidate(const Context& context) {
    const Layout layout = layout_of(context.model.config);
    const Payload payload = make_payloads(context.device, layout, 1).front();
    Replica replica(context.device, layout, normal_values(layout.parameters, 2, 0.02));
    const DeviceArray out(context.device, context.device.compute_type(), layout.parameters);
    return per_parameter(context.stopwatch.measure([&] { replica.candidate(out.tensor(), payload, 1e-3f); }), layout,
                         4.0 + static_cast<double>(bytes_of(out.dtype())));
}

// A feed-forward matrix of the 1.2B preset, compressed on the CPU: what strangers send is checked there.
struct Received {
    Layout layout = make_layout({{"w", {8192, 2048}, 0, 8192 * 2048}}, {});
    std::vector<Payload> payloads;
    Received() : payloads(make_payloads(*cpu_device(), layout, 2)) {}
    double bytes() const { return static_cast<double>(layout.payload_bytes); }
};

Figure payload_check(const Context& context) {
    const Received received;
    const auto step = [&] {
        if (const std::string fault = payload_fault(received.layout, received.payloads[0]); !fault.empty())
            fail(ExitCode::internal, "{}", fault);
    };
    return {.time = context.stopwatch.measure_host(step),
            .bound = Bound::memory,
            .work = 0,
            .items = received.bytes(),
            .item = "bytes"};
}

Figure overlap_check(const Context& context) {
    const Received received;
    const auto step = [&] {
        if (!(index_overlap(received.layout, received.payloads[1], received.payloads[0]) < 0.5))
            fail(ExitCode::internal, "what was sent is sent again: expected other coefficients");
    };
    return {.time = context.stopwatch.measure_host(step),
            .bound = Bound::memory,
            .work = 0,
            .items = 2 * received.bytes(),
            .item = "bytes"};
}

}  // namespace

std::vector<Case> swarm_cases(const ModelShape& model, DType compute) {
    const Layout layout = layout_of(model.config);
    const int64_t fp32 = 4 * layout.parameters,
                  copy = compute == DType::f32 ? 0 : bytes_of(compute) * layout.parameters;
    const int64_t compression = 2 * fp32 + layout.payload_bytes, replica = fp32 + copy + peers * layout.payload_bytes;
    return {{"demo_step", "a whole model's gradient into a payload on the host: norm, momentum, DCT, top-k, codes",
             Bound::memory, compression, demo_step},
            {"replica_apply", "15 payloads from the host applied to a whole model, and its new state root",
             Bound::memory, std::max(compression, replica), replica_apply},
            {"candidate", "a whole model's weights with one payload applied", Bound::memory,
             std::max(compression, replica + bytes_of(compute) * layout.parameters), candidate},
            {"payload_check", "every rule of the form of an 8192x2048 matrix's payload, one thread of the CPU",
             Bound::memory, 0, payload_check},
            {"index_overlap", "equal indices of two such payloads, one thread of the CPU", Bound::memory, 0,
             overlap_check}};
}

}  // namespace templar::bench
