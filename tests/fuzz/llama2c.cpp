// llama2.c checkpoints: f<file>, or h<seven sizes> with as many zeros as they ask for.
#include "tests/fuzz/target.h"
#include "weights/llama2c.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr size_t header_bytes = 28;
constexpr int64_t most_values = 1 << 16;

void judge(ByteSpan bytes) {
    const auto config = accepted([&] { return llama2c_config(bytes, "a.bin"); });
    if (!config) return;
    const std::vector<float> params = llama2c_weights(bytes, config->model);
    require(std::ssize(params) == parameter_count(config->model), "a file that is accepted has all weights");
}

// The length that a file of these sizes must have, as its own refusal tells; or none.
void judge_with_data(Bytes bytes) {
    bytes.resize(header_bytes);
    std::array<int32_t, 7> sizes{};
    ByteReader reader(bytes, "header");
    for (int32_t& size : sizes) size = reader.get<int32_t>();
    for (int32_t size : sizes)
        if (size == 0 || std::abs(int64_t{size}) > 64) return judge(bytes);
    if (sizes[3] < 0 || sizes[0] % sizes[3] != 0) return judge(bytes);
    const int64_t dim = sizes[0], hidden = sizes[1], layers = sizes[2], kv = dim / sizes[3] * sizes[4],
                  vocab = std::abs(int64_t{sizes[5]});
    const int64_t values = vocab * dim * (sizes[5] < 0 ? 2 : 1) + dim + int64_t{sizes[6]} * (dim / sizes[3]) +
                           layers * (2 * dim * dim + 2 * dim * kv + 3 * dim * hidden + 2 * dim);
    if (values > 0 && values < most_values) bytes.resize(header_bytes + static_cast<size_t>(values) * sizeof(float));
    judge(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const bool sizes_only = input.number() == 'h';
    const ByteSpan rest = input.rest();
    Bytes bytes(rest.begin(), rest.end());
    if (sizes_only)
        judge_with_data(std::move(bytes));
    else
        judge(bytes);
    return 0;
}
