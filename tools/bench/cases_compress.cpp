// Compression of one weight matrix, and what a validator does with the payload.
#include "base/error.h"
#include "engine/compress/layout.h"
#include "tools/bench/bench.h"

#include <memory>

namespace templar::bench {

namespace {

// A feed-forward matrix of the 1.2B preset: with its momentum larger than any cache.
constexpr int64_t rows = 8192, cols = 2048, count = rows * cols;
// The symmetric halves of the basis are used: 32 + 32 multiply-adds an element for chunks of 64 × 64.
constexpr double dct_flops = 2.0 * 64 * count;

struct Compression {
    const Ops& ops;
    Stream stream;
    Layout layout = make_layout({{"w", {rows, cols}, 0, count}}, {});
    std::vector<float> momentum = random_values(count, 1), grad = random_values(count, 2);
    std::vector<uint8_t> payload = std::vector<uint8_t>(static_cast<size_t>(layout.payload_bytes));

    explicit Compression(const Context& context) : ops(context.ops), stream(context.stream) {}
    const TensorLayout& tensor() const { return layout.tensors[0]; }
    Tensor frequencies() {
        return Tensor(momentum.data(), {tensor().grid.chunks(), tensor().grid.chunk_size()});
    }
    Tensor gradient() { return Tensor(grad.data(), {rows, cols}); }
    void compress() {
        ops.demo_compress(stream, sparse_out(tensor(), payload), frequencies(), gradient(), tensor().grid,
                          {0.999f, 1e-3f});
    }
};

Prepared demo_compress(const Context& context) {
    auto data = std::make_shared<Compression>(context);
    return {[data] { data->compress(); }, dct_flops, 0, count, "params"};
}

Prepared dct_encode(const Context& context) {
    auto data = std::make_shared<Compression>(context);
    auto step = [data] {
        data->ops.dct_encode(data->stream, data->frequencies(), data->gradient(), data->tensor().grid);
    };
    return {step, dct_flops, 0, count, "params"};
}

Prepared payload_check(const Context& context) {
    auto data = std::make_shared<Compression>(context);
    data->compress();
    auto step = [data] {
        if (std::string fault = payload_fault(data->layout, data->payload); !fault.empty())
            fail(ExitCode::internal, "{}", fault);
    };
    const auto bytes = static_cast<double>(data->payload.size());
    return {step, 0, bytes, bytes, "bytes"};
}

Prepared overlap_check(const Context& context) {
    auto data = std::make_shared<Compression>(context);
    data->compress();
    auto earlier = std::make_shared<std::vector<uint8_t>>(data->payload);
    data->compress();
    auto step = [data, earlier] {
        if (!(index_overlap(data->layout, data->payload, *earlier) < 0.5))
            fail(ExitCode::internal, "what was sent is sent again: expected other coefficients");
    };
    const auto bytes = static_cast<double>(data->payload.size());
    return {step, 0, 2 * bytes, bytes, "bytes"};
}

}  // namespace

std::vector<Case> compress_cases() {
    return {
        {"demo-compress", "one DeMo step of an 8192 x 2048 matrix: momentum, DCT, top 32 of 4096, codes",
         Bound::compute, demo_compress},
        {"dct-encode", "its DCT alone", Bound::compute, dct_encode},
        {"payload-check", "every rule of a payload's form, one thread", Bound::memory, payload_check},
        {"index-overlap", "equal indices of two payloads, one thread", Bound::memory, overlap_check},
    };
}

}  // namespace templar::bench
