#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::test;

TEST_CASE("embedding copies rows, and its backward adds them up in the order of the tokens") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const int64_t channels : {1, 7, 64, 131}) {
            CAPTURE(channels);
            constexpr int64_t vocab = 5, rows = 23;
            const Values table = normal(vocab * channels, 1), gradient = normal(rows * channels, 2);
            std::vector<int32_t> id(rows);
            for (int64_t i = 0; i < rows; ++i)
                id[i] = static_cast<int32_t>(i * i % vocab);  // 2 and 3 never occur
            const Tensor ids(id.data(), {rows});

            const Values out = on_all_threads([&](Stream& stream) {
                Values result(rows * channels, 1e30f);
                ops->embedding_forward(stream, Tensor(result.data(), {rows, channels}),
                                       Tensor(table.data(), {vocab, channels}), ids);
                return result;
            });
            for (int64_t i = 0; i < rows; ++i)
                for (int64_t c = 0; c < channels; ++c)
                    CHECK(out[i * channels + c] == table[id[i] * channels + c]);

            Values want = table;  // gradients accumulate
            for (int64_t i = 0; i < rows; ++i)
                for (int64_t c = 0; c < channels; ++c)
                    want[id[i] * channels + c] += gradient[i * channels + c];
            const Values sums = on_all_threads([&](Stream& stream) {
                Values result = table;
                ops->embedding_backward(stream, Tensor(result.data(), {vocab, channels}),
                                        Tensor(gradient.data(), {rows, channels}), ids);
                return result;
            });
            CHECK(sums == want);
        }
    }
}
