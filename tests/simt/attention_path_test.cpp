// The seam behind which another implementation of attention stands (kernels/cuda/attention_path.h).
#include "kernels/cuda/attention_path.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stream.h"

#include <doctest/doctest.h>

#include <vector>

using namespace templar;

namespace {

// Does nothing, and says that it did.
struct OtherPath final : cuda::AttentionPath {
    bool takes;
    int calls = 0;
    explicit OtherPath(bool takes_it) : takes(takes_it) {}
    bool forward(Stream&, Tensor, Tensor, Tensor) override { return ++calls, takes; }
    bool backward(Stream&, Tensor, Tensor, Tensor, Tensor, Tensor) override { return ++calls, takes; }
};

// out of one position: its value.
float run(bool takes) {
    OtherPath other(takes);
    CudaStream cuda{.attention = &other};
    Stream stream{.cuda = &cuda};
    std::vector<float> qkv{1, 2, 3, 4, 5, 6}, dqkv(6, -1), out(2, -1), lse(1), delta(1);
    const auto of = [](std::vector<float>& values, int64_t heads) { return Tensor(values.data(), {1, 1, heads, 2}); };
    const Tensor rows(lse.data(), {1, 1, 1}), scratch(delta.data(), {1, 1, 1});
    cuda::attention_forward(stream, of(out, 1), rows, of(qkv, 3));
    cuda::attention_backward(stream, of(dqkv, 3), scratch, of(out, 1), of(out, 1), rows, of(qkv, 3));
    CHECK(other.calls == 2);
    CHECK(dqkv[4] == doctest::Approx(takes ? -1.0f : 5.0f));  // dV = dO, which is out here
    return out[0];
}

}  // namespace

TEST_CASE("attention asks another path first and does what that refuses") {
    CHECK(run(true) == -1.0f);
    CHECK(run(false) == 5.0f);
}
