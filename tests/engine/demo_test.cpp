#include "engine/optim/demo.h"

#include "base/error.h"
#include "base/random.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace templar;
using test::cpu, test::flat, test::values;

namespace {

const std::vector<Parameter> parameters = {{"embed", {128, 96}, 0, 12288},
                                           {"norm", {96}, 12288, 96},
                                           {"odd", {7, 67}, 12384, 469},
                                           {"unused", {64, 64}, 12853, 4096}};

// Normal gradients, but none for `unused`.
std::vector<float> gradients(const Layout& layout, const char* key) {
    CounterRng rng(sha256(as_bytes(key)));
    std::vector<float> grads(static_cast<size_t>(layout.parameters));
    for (int64_t i = 0; i < layout.tensors[3].offset; ++i) grads[i] = static_cast<float>(rng.normal());
    return grads;
}

}  // namespace

TEST_CASE(
    "Demo writes well-formed payloads, and what is sent plus what is left is the decayed sum of gradients") {
    for (int code_bits : {8, 4, 2, 1}) {
        CAPTURE(code_bits);
        const Layout layout = make_layout(parameters, {.k = 16, .chunk_edge = 64, .code_bits = code_bits});
        Device& device = cpu(2);
        const Ops& ops = device.ops();
        Stream& stream = device.stream();
        Demo demo(device, layout, 0.5f);
        Bytes payload(static_cast<size_t>(layout.payload_bytes), 0xaa);
        std::vector<double> total(static_cast<size_t>(layout.parameters));  // beta·(left over) + eta·scale·DCT(g)
        std::vector<float> coef(total.size());
        for (const char* key : {"first", "second", "third"}) {
            const std::vector<float> grads = gradients(layout, key);
            for (size_t i = 0; i < total.size(); ++i) total[i] = 0.5 * values(demo.momentum())[i];
            for (const TensorLayout& tensor : layout.tensors) {
                const ChunkGrid& grid = tensor.grid;
                const Tensor out(coef.data() + tensor.offset, {grid.chunks(), grid.chunk_size()});
                ops.dct_encode(stream, out, Tensor(grads.data() + tensor.offset, {grid.rows, grid.cols}),
                               grid);
            }
            for (size_t i = 0; i < total.size(); ++i) total[i] += 0.25 * 2 * coef[i];

            demo.step(flat(grads), 0.25f, 2.0f, payload);
            REQUIRE(payload_fault(layout, payload) == "");
            std::vector<double> sum(total.size());
            std::ranges::copy(values(demo.momentum()), sum.begin());
            for (const TensorLayout& tensor : layout.tensors)
                for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk)
                    for (const CodedValue& kept :
                         decode_chunk(sparse_in(tensor, payload), tensor.grid, chunk))
                        sum[tensor.offset + chunk * tensor.grid.chunk_size() + kept.index] += kept.value;
            double worst = 0;
            for (size_t i = 0; i < sum.size(); ++i) worst = std::max(worst, std::abs(sum[i] - total[i]));
            CHECK(worst < 2e-6);
        }
        const TensorLayout& unused = layout.tensors[3];
        CHECK(sparse_in(unused, payload).scales[0] == 0);
        for (int64_t i = 0; i < unused.numel(); ++i) CHECK(values(demo.momentum())[unused.offset + i] == 0);
    }
}

TEST_CASE("Demo keeps what it could not send and sends it later") {
    const Layout layout = make_layout({{"w", {64, 64}, 0, 4096}}, {.k = 64});
    Demo demo(cpu(), layout, 0.999f);
    Bytes payload(static_cast<size_t>(layout.payload_bytes));
    std::vector<float> grads = gradients(make_layout(parameters, {}), "error feedback");
    grads.resize(4096);
    demo.step(flat(grads), 1, 1, payload);
    double before = 0, after = 0;
    for (float e : values(demo.momentum())) before += double(e) * e;
    const std::vector<float> nothing(4096);
    for (int step = 0; step < 60; ++step) demo.step(flat(nothing), 1, 1, payload);
    for (float e : values(demo.momentum())) after += double(e) * e;
    CHECK(before > 2000);  // of about 4096
    CHECK(after < 0.01 * before);
}

TEST_CASE("Demo refuses what would poison its momentum, and leaves everything as it was") {
    const Layout layout = make_layout(parameters, {.k = 16});
    Demo demo(cpu(2), layout, 0.999f);
    Bytes payload(static_cast<size_t>(layout.payload_bytes), 0xaa);
    std::vector<float> grads = gradients(layout, "poison");
    demo.step(flat(grads), 1, 1, payload);
    const std::vector<float> momentum = demo.momentum().download();
    const Bytes sent = payload;

    for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> poisoned = grads;
        poisoned.back() = bad;  // the last tensor: those before it must not have moved either
        CHECK_THROWS_AS(demo.step(flat(poisoned), 1, 1, payload), Error);
        CHECK_THROWS_AS(demo.step(flat(grads), bad, 1, payload), Error);
        CHECK_THROWS_AS(demo.step(flat(grads), 1, bad, payload), Error);
    }
    CHECK_THROWS_AS(demo.step(flat(grads).view(0, {layout.parameters - 1}), 1, 1, payload), Error);
    CHECK_THROWS_AS(demo.step(flat(grads), 1, 1, std::span(payload).first(payload.size() - 1)), Error);
    CHECK(demo.momentum().download() == momentum);
    CHECK(payload == sent);

    for (float beta : {1.0f, -0.1f, std::numeric_limits<float>::quiet_NaN()})
        CHECK_THROWS_AS(Demo(cpu(), layout, beta), Error);
}
