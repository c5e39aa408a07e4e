// safetensors files (genesis, published weights): r<file>, or h<header>\n<data> with the length put before
// it.
#include "tests/fuzz/target.h"
#include "weights/safetensors.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

// What is fp32 in all its tensors can be written too.
void judge_writing(const SafetensorsView& view) {
    std::vector<std::vector<float>> values(view.tensors.size());
    std::vector<NamedTensor> tensors;
    for (size_t i = 0; i < view.tensors.size(); ++i) {
        const StoredTensor& tensor = view.tensors[i];
        if (tensor.dtype != "F32") return;
        values[i].resize(static_cast<size_t>(tensor.count()));
        read_values(tensor, values[i], "file");
        tensors.push_back({tensor.name, tensor.shape, values[i]});
    }
    const Bytes written = write_safetensors(tensors, view.metadata);
    const SafetensorsView again = read_safetensors(written, "again");
    require(again.metadata == view.metadata && again.tensors.size() == view.tensors.size(),
            "a file written is read as the same");
    for (size_t i = 0; i < again.tensors.size(); ++i) {
        const StoredTensor &a = view.tensors[i], &b = again.tensors[i];
        require(a.name == b.name && a.shape == b.shape && std::ranges::equal(a.bytes, b.bytes),
                "a tensor written is read as the same");
    }
}

void judge(ByteSpan bytes) {
    const auto view = accepted([&] { return read_safetensors(bytes, "file"); });
    if (!view) return;
    size_t data_bytes = 0;
    for (const StoredTensor& tensor : view->tensors) {
        data_bytes += tensor.bytes.size();
        sha256(tensor.bytes);  // every byte of it can be read
        require(tensor.bytes.empty() || (tensor.bytes.data() >= bytes.data() && &tensor.bytes.back() <= &bytes.back()),
                "a tensor is within the file");
        std::vector<float> values(static_cast<size_t>(tensor.count()));
        accepted([&] { return (read_values(tensor, values, "file"), true); });
    }
    require(data_bytes + 8 <= bytes.size(), "no byte belongs to two tensors");
    judge_writing(*view);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    Bytes bytes;
    if (input.number() == 'h') {
        std::string header(input.line());
        header.resize((header.size() + 7) / 8 * 8, ' ');
        ByteWriter writer;
        writer.put(uint64_t{header.size()});
        writer.put_bytes(as_bytes(header));
        bytes = writer.take();
    }
    const ByteSpan rest = input.rest();
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    judge(bytes);
    return 0;
}
