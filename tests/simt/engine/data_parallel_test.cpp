// A miner's window on 2 and 4 emulated GPUs, their ranks joined by threads instead of NCCL.
#include "engine/parallel/data_parallel.h"

#include "base/random.h"
#include "tests/distance.h"
#include "tests/simt/test_device.h"

#include <doctest/doctest.h>

using namespace templar;
using test::distance;

namespace {

const LlamaConfig config{.vocab_size = 48,
                         .hidden_size = 32,
                         .intermediate_size = 40,
                         .layers = 2,
                         .heads = 2,
                         .kv_heads = 1,
                         .head_dim = 16};
constexpr int64_t seq = 11, rows = 4;

struct Result {
    double loss = 0;
    std::vector<float> gradient, momentum;
    std::vector<uint8_t> payload;
};

Result train(int ranks, DType type, const Layout& layout) {
    std::vector<std::unique_ptr<Device>> owned;
    std::vector<Device*> devices;
    for (int i = 0; i < ranks; ++i) devices.push_back(owned.emplace_back(test::test_device(type)).get());
    DataParallel trainer(devices, config, layout, rows / ranks, seq, 0.9f,
                         host_communicators);
    const DeviceArray master(*devices[0], genesis_weights(config, 3));
    DeviceArray weights;
    if (type != DType::f32) {
        weights = DeviceArray(*devices[0], type, master.size());
        devices[0]->ops().round_weights(devices[0]->stream(), weights.tensor(), master.tensor());
    }
    trainer.set_weights(weights ? weights.tensor() : master.tensor());
    trainer.zero_gradient();
    CounterRng rng(sha256(as_bytes("tokens")));
    Result result;
    for (int batch = 0; batch < 2; ++batch) {
        std::vector<int32_t> tokens, labels;
        for (int64_t i = 0; i < rows * seq; ++i) {
            tokens.push_back(static_cast<int32_t>(rng.below(48)));
            labels.push_back(rng.below(6) == 0 ? Llama::ignore_label : static_cast<int32_t>(rng.below(48)));
        }
        result.loss += trainer.forward_backward(tokens, labels, batch == 1).wait();
    }
    result.payload.resize(static_cast<size_t>(layout.payload_bytes));
    trainer.compress(1e-3f, 0.01f, result.payload);
    result.gradient = trainer.gradient();
    result.momentum = trainer.momentum();
    return result;
}

}  // namespace

TEST_CASE("2 and 4 emulated GPUs compute what one does") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 16});
    for (const DType type : {DType::f32, DType::bf16}) {
        CAPTURE(std::string(name_of(type)));
        const Result one = train(1, type, layout);
        CHECK(payload_fault(layout, one.payload) == "");
        for (const int ranks : {2, 4}) {
            CAPTURE(ranks);
            const Result several = train(ranks, type, layout);
            // Each token's activations are the same; only the sums over tokens are taken in other parts, in fp32.
            CHECK(several.loss == doctest::Approx(one.loss).epsilon(1e-6));
            CHECK(distance(several.gradient, one.gradient) < 1e-5);
            CHECK(distance(several.momentum, one.momentum) < 5e-3);  // near ties may be decided otherwise
            CHECK(payload_fault(layout, several.payload) == "");
            CHECK(train(ranks, type, layout).payload == several.payload);
        }
    }
}
