// The bench's way with a device that has its own memory and runs behind the host: events, a flushed cache, groups of
// steps.
#include "tests/simt/test_device.h"
#include "tools/bench/bench.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace templar;

TEST_CASE("the bench times operations, a step and each of its operations on a device") {
    const std::unique_ptr<Device> device = test::test_device(DType::bf16);
    const LlamaConfig config{.vocab_size = 64,
                             .hidden_size = 32,
                             .intermediate_size = 48,
                             .layers = 1,
                             .heads = 2,
                             .kv_heads = 1,
                             .head_dim = 16};
    bench::Stopwatch stopwatch(*device, 0, bench::TimeBase::wall);
    const bench::Context context{
        *device, stopwatch, {.edge = 1, .flops = 1e12, .bytes = 1e12}, {"one layer", config, 1, 16}};

    const bench::Figure step = bench::waterfall(context);
    CHECK(step.time.repetitions >= 3);
    CHECK(step.time.best > 0);
    CHECK(step.items == 16);
    const auto calls = [&](const char* operation) {
        const nlohmann::json& rows = step.details["operations"];
        const auto row = std::ranges::find_if(rows, [&](const nlohmann::json& r) { return r["name"] == operation; });
        return row == rows.end() ? 0.0 : (*row)["calls"].get<double>();
    };
    CHECK(calls("attention_backward 1x16x4x16") == 1);
    CHECK(calls("add_rmsnorm_forward 16x32") == 2);
    CHECK(calls("matmul 16x64x32 nt") == 2);  // queries, keys and values; the head

    bool timed = false;
    for (const bench::Case& what : bench::operation_cases(*device, CaseSizes::small)) {
        if (timed || !what.name.starts_with("swiglu_forward/")) continue;
        CHECK(what.run(context).time.best > 0);
        timed = true;
    }
    CHECK(timed);
}
