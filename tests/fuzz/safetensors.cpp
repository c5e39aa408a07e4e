// safetensors files (genesis, published weights): r<file>, or h<header>\n<data> with the length put before
// it.
#include "tests/fuzz/target.h"
#include "weights/safetensors.h"

#include <cstring>

using namespace templar;
using namespace templar::fuzz;

namespace {

void judge(ByteSpan bytes) {
    const auto view = accepted([&] { return read_safetensors(bytes, "file"); });
    if (!view) return;
    size_t data_bytes = 0;
    for (const NamedTensor& tensor : view->tensors) {
        const ByteSpan values(reinterpret_cast<const uint8_t*>(tensor.values.data()),
                              tensor.values.size_bytes());
        data_bytes += values.size();
        sha256(values);  // every byte of it can be read
        require(values.empty() || (values.data() >= bytes.data() && &values.back() <= &bytes.back()),
                "a tensor is within the file");
    }
    require(data_bytes + 8 <= bytes.size(), "no byte belongs to two tensors");

    const Bytes written = write_safetensors(view->tensors, view->metadata);
    const SafetensorsView again = read_safetensors(written, "again");
    require(again.metadata == view->metadata && again.tensors.size() == view->tensors.size(),
            "a file written is read as the same");
    for (size_t i = 0; i < again.tensors.size(); ++i) {
        const NamedTensor &a = view->tensors[i], &b = again.tensors[i];
        require(a.name == b.name && a.shape == b.shape && a.values.size() == b.values.size() &&
                    (a.values.empty() ||
                     std::memcmp(a.values.data(), b.values.data(), a.values.size_bytes()) == 0),
                "a tensor written is read as the same");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    Bytes bytes;  // aligned, as the header asks
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
