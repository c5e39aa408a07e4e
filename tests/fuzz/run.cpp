// run.json, and what follows from it before anything is allocated: times, layout, object lengths.
#include "net/swarm/run.h"
#include "net/wire/payload.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto run = accepted([&] { return run_from_json(as_text({data, size})); });
    if (!run) return 0;
    const std::string text = run_to_json(*run);
    require(run_to_json(run_from_json(text)) == text, "a run is written and read as the same");

    constexpr int64_t last_window = 99'999'999;
    require(run->start_ms(last_window) >= run->start_ms(0), "windows follow one another");
    require(run->immunity_windows * run->window_ms() >= 0, "immunity is a time");

    const Layout layout = make_layout(llama_parameters(run->model), run->codec);
    int64_t end = 0;
    for (const TensorLayout& tensor : layout.tensors) {
        require(tensor.base_exponent == end && tensor.offset >= 0, "tensors follow one another in a payload");
        end = tensor.indices + packed_bytes(tensor.grid.chunks() * tensor.format.k, tensor.format.index_bits);
        require(end > tensor.indices || tensor.format.index_bits == 0, "sections have lengths");
    }
    require(end == layout.payload_bytes && wire_object_bytes(end) > end, "an object has a length");
    return 0;
}
