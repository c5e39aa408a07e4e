// The engine on the device under test beside the engine on the CPU.
#include "base/error.h"
#include "base/random.h"
#include "engine/gauntlet/stage2.h"
#include "engine/model/llama.h"
#include "engine/optim/adamw.h"
#include "engine/optim/demo.h"
#include "engine/replica/replica.h"
#include "kernels/bf16.h"
#include "kernels/cases/with_table.h"
#include "tests/cpu.h"
#include "tests/distance.h"
#include "tests/golden_roots.h"
#include "tests/simt/test_device.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace templar;
using test::cpu, test::distance, test::flat, test::test_device;

namespace {

// Grouped queries, a head size that fills half a tensor-core tile, sizes that are no multiples of the kernels' blocks.
const LlamaConfig config{.vocab_size = 101,
                         .hidden_size = 72,
                         .intermediate_size = 104,
                         .layers = 2,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 32};
constexpr int64_t batch = 2, seq = 37;

std::vector<float> random_weights(const char* key) {
    CounterRng rng(sha256(as_bytes(key)));
    std::vector<float> weights(static_cast<size_t>(parameter_count(config)));
    for (const Parameter& parameter : llama_parameters(config))
        for (int64_t i = 0; i < parameter.numel; ++i)
            weights[static_cast<size_t>(parameter.offset + i)] = static_cast<float>(
                parameter.shape.size() == 1 ? 1 + 0.1 * rng.normal() : 0.12 * rng.normal());
    return weights;
}

// Rounded to the device's compute type: what its matrix products read.
std::vector<float> rounded(std::vector<float> values, DType type) {
    if (type == DType::bf16)
        for (float& value : values) value = to_float(to_bf16(value));
    return values;
}

struct Batch {
    std::vector<int32_t> tokens, labels;
    explicit Batch(uint64_t number) {
        CounterRng rng(Sha256().update("batch").update_le(number).finish());
        for (int64_t i = 0; i < batch * seq; ++i) {
            tokens.push_back(static_cast<int32_t>(rng.below(101)));
            // Something to learn: mostly a function of the token.
            labels.push_back(rng.below(7) == 0 ? Llama::ignore_label : (tokens.back() * 3 + 1) % 101);
        }
    }
    // Every third position from the last on, two labels each.
    std::vector<Llama::Target> some_targets() const {
        std::vector<Llama::Target> targets;
        for (int32_t at = batch * seq - 1; at >= 0; at -= 3)
            for (const int32_t label : {tokens[static_cast<size_t>(at)], 100 - tokens[static_cast<size_t>(at)]})
                targets.push_back({at, label});
        return targets;
    }
    float counted() const {
        return static_cast<float>(std::ranges::count_if(labels, [](int32_t label) { return label >= 0; }));
    }
};

double sum(std::span<const float> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// A model, its weights, gradients and optimiser on one device.
struct Training {
    Device& device;
    Llama model;
    AdamW optimizer;
    DeviceArray params, weights, grads;

    Training(Device& on, const std::vector<float>& start)
        : device(on),
          model(on, config, batch, seq, Pass::training),
          optimizer(on, llama_parameters(config), {}),
          params(on, start),
          grads(on, DType::f32, params.size()) {
        if (on.compute_type() == DType::f32) return;
        weights = DeviceArray(on, on.compute_type(), params.size());
        on.ops().round_weights(on.stream(), weights.tensor(), params.tensor());
    }
    Tensor readable() const { return weights ? weights.tensor() : params.tensor(); }
    double step(const Batch& data, float lr) {
        grads.fill_zero();
        const auto pending = model.forward_backward(readable(), grads.tensor(), data.tokens, data.labels, 1.0f);
        optimizer.step(params.tensor(), weights ? weights.tensor() : Tensor(), grads.tensor(), lr, 1 / data.counted());
        return sum(pending.wait()) / data.counted();
    }
};

// fp32: sums in another order. bf16: every activation is rounded to 8 bits, about 0.3 % each, with random signs.
double tolerance(DType type) { return type == DType::f32 ? 2e-5 : 2e-2; }

}  // namespace

TEST_CASE("losses, logits and gradients of a model on the device are the CPU's") {
    for (const DType type : {DType::f32, DType::bf16}) {
        CAPTURE(std::string(name_of(type)));
        const auto device = test_device(type);
        const std::vector<float> start = rounded(random_weights("gradients"), type);
        Training there(*device, start), here(cpu(2), start);
        for (int schedule = 0; schedule < test::schedules; ++schedule) {
            test::set_schedule(schedule);
            const Batch data(static_cast<uint64_t>(schedule));
            there.grads.fill_zero(), here.grads.fill_zero();
            const auto got =
                there.model.forward_backward(there.readable(), there.grads.tensor(), data.tokens, data.labels, 1);
            const auto want =
                here.model.forward_backward(here.readable(), here.grads.tensor(), data.tokens, data.labels, 1);
            CHECK(distance(got.wait(), want.wait()) < tolerance(type));
            const std::vector<float> a = there.grads.download(), b = here.grads.download();
            for (const Parameter& parameter : llama_parameters(config)) {
                INFO(parameter.name);
                const auto part = [&](const std::vector<float>& all) {
                    return std::span(all).subspan(static_cast<size_t>(parameter.offset),
                                                  static_cast<size_t>(parameter.numel));
                };
                CHECK(distance(part(a), part(b)) < 3 * tolerance(type));
            }
            CHECK(distance(there.model.losses(there.readable(), data.tokens, data.labels).wait(),
                           here.model.losses(here.readable(), data.tokens, data.labels).wait()) < tolerance(type));
            const std::vector<Llama::Target> targets = data.some_targets();
            const auto chosen = there.model.target_losses(there.readable(), data.tokens, seq, targets);
            CHECK(distance(chosen.wait(), here.model.target_losses(here.readable(), data.tokens, seq, targets).wait()) <
                  tolerance(type));
            CHECK(chosen.greedy().size() == targets.size());
            std::vector<float> x(static_cast<size_t>(batch * seq * config.vocab_size)), y(x.size());
            there.model.logits(there.readable(), data.tokens, x);
            here.model.logits(here.readable(), data.tokens, y);
            CHECK(distance(x, y) < tolerance(type));
        }
        test::set_schedule(0);
    }
}

TEST_CASE("ten training steps on the device track the CPU") {
    for (const DType type : {DType::f32, DType::bf16}) {
        CAPTURE(std::string(name_of(type)));
        const auto device = test_device(type);
        const std::vector<float> start = random_weights("training");
        Training there(*device, start), here(cpu(2), start);
        double first = 0, last = 0;
        for (uint64_t t = 0; t < 10; ++t) {
            CAPTURE(t);
            const Batch data(100 + t % 3);
            const double want = here.step(data, 3e-3f), got = there.step(data, 3e-3f);
            CHECK(std::abs(got - want) < tolerance(type) * want);
            (t == 0 ? first : last) = got;
        }
        CHECK(last < 0.9 * first);
        // What was learnt, not where it started: AdamW's early steps are signs, which flip where a gradient is near 0.
        std::vector<float> a = there.params.download(), b = here.params.download();
        for (size_t i = 0; i < a.size(); ++i) a[i] -= start[i], b[i] -= start[i];
        CHECK(distance(a, b) < (type == DType::f32 ? 0.01 : 0.35));
    }
}

TEST_CASE("after the first step nothing is allocated") {
    struct Counting final : WithTable {
        explicit Counting(Device& inner) : WithTable(inner, inner.ops()) {}
        void* allocate(int64_t bytes) override { return ++count, WithTable::allocate(bytes); }
        void* allocate_pinned(int64_t bytes) override { return ++count, WithTable::allocate_pinned(bytes); }
        int count = 0;
    };
    const auto inner = test_device(DType::bf16);
    Counting device(*inner);
    Training training(device, random_weights("allocations"));
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 32});
    Demo demo(device, layout, 0.99f);
    Replica replica(device, layout, training.params.download());
    DeviceArray candidate(device, DType::bf16, layout.parameters);
    std::vector<uint8_t> payload(static_cast<size_t>(layout.payload_bytes));
    const std::span<const uint8_t> view = payload;
    int after_first = 0;
    for (int t = 0; t < 3; ++t) {
        const Batch data(static_cast<uint64_t>(t));
        training.step(data, 1e-3f);
        demo.step(training.grads.tensor(), 1e-3f, 1, payload);
        replica.apply({1e-3f, 1.0f}, {&view, 1});
        replica.candidate(candidate.tensor(), payload, 1e-3f);
        training.model.losses(candidate.tensor(), data.tokens, data.labels).wait();
        training.model.target_losses(candidate.tensor(), data.tokens, seq, data.some_targets()).wait();
        if (t == 0) after_first = device.count;
    }
    CHECK(device.count == after_first);
}

TEST_CASE("a replica on the device holds the CPU's bits: root, weights, candidate, possession") {
    const std::vector<float> start = random_weights("replica");
    const Layout layout = make_layout(llama_parameters(config), {.k = 24, .chunk_edge = 64});
    CounterRng rng(sha256(as_bytes("payloads")));
    Demo demo(cpu(2), layout, 0.9f);
    std::vector<std::vector<uint8_t>> payloads(7, std::vector<uint8_t>(static_cast<size_t>(layout.payload_bytes)));
    std::vector<float> grads(start.size());
    for (auto& payload : payloads) {
        for (float& grad : grads) grad = static_cast<float>(rng.normal());
        demo.step(flat(grads), 1e-3f, 1, payload);
    }
    const std::vector<std::span<const uint8_t>> views(payloads.begin(), payloads.end());
    Replica here(cpu(2), layout, start);
    here.apply({4e-4f, 0.9999f}, views);
    std::vector<float> moved(start.size());
    here.candidate(flat(moved), views[3], 2e-4f);
    const Digest hotkey = sha256(as_bytes("hotkey"));

    for (const DType type : {DType::f32, DType::bf16})
        for (int schedule = 0; schedule < test::schedules; ++schedule) {
            CAPTURE(std::string(name_of(type)));
            CAPTURE(schedule);
            test::set_schedule(schedule);
            const auto device = test_device(type);
            Replica there(*device, layout, start);
            CHECK(there.root() == state_tree(layout, start, 1).root);
            there.apply({4e-4f, 0.9999f}, views);
            CHECK(there.root() == here.root());
            CHECK(there.tree().tensors == here.tree().tensors);
            CHECK(there.host_theta() == here.host_theta());
            CHECK(there.possession_proof(hotkey, 5) == here.possession_proof(hotkey, 5));
            DeviceArray candidate(*device, type, there.theta().numel());
            there.candidate(candidate.tensor(), views[3], 2e-4f);
            if (type == DType::f32) {
                CHECK(candidate.download() == moved);
                continue;
            }
            std::vector<bf16> narrow(moved.size()), weights(moved.size());
            device->download(device->stream(), narrow.data(), candidate.tensor().data, candidate.tensor().bytes());
            device->download(device->stream(), weights.data(), there.weights().data, there.weights().bytes());
            device->wait(device->stream());
            const std::vector<float> theta = here.host_theta();
            for (size_t i = 0; i < moved.size(); ++i) {
                REQUIRE(narrow[i].bits == to_bf16(moved[i]).bits);
                REQUIRE(weights[i].bits == to_bf16(theta[i]).bits);
            }
        }
    test::set_schedule(0);
}

TEST_CASE("a replica on the device reaches the golden roots") {
    for (const DType type : {DType::f32, DType::bf16}) test::check_golden_roots(*test_device(type));
}

TEST_CASE("the first-order screen on the device is the CPU's") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 32});
    std::vector<float> grads(static_cast<size_t>(layout.parameters));
    CounterRng rng(sha256(as_bytes("screen")));
    for (float& grad : grads) grad = static_cast<float>(rng.normal());
    std::vector<std::vector<uint8_t>> payloads(3, std::vector<uint8_t>(static_cast<size_t>(layout.payload_bytes)));
    Demo demo(cpu(2), layout, 0.5f);
    for (auto& payload : payloads) demo.step(flat(grads), 1e-3f, 1, payload);
    const std::vector<std::span<const uint8_t>> views(payloads.begin(), payloads.end());
    const std::vector<double> want = first_order_screen(cpu(2), layout, flat(grads), views, 1e-4f);
    const auto device = test_device(DType::f32);
    const DeviceArray there(*device, grads);
    const std::vector<double> got = first_order_screen(*device, layout, there.tensor(), views, 1e-4f);
    for (size_t p = 0; p < want.size(); ++p) CHECK(got[p] == doctest::Approx(want[p]).epsilon(1e-9));
}

TEST_CASE("a plan that does not fit into the device names the largest batch that does") {
    const auto device = test_device(DType::bf16);
    try {
        Llama(*device, config, 1 << 20, 1 << 16, Pass::training);
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::device);
        CHECK(std::string(error.what()).find("largest batch that fits is ") != std::string::npos);
    }
}
