#include "weights/safetensors.h"

#include "base/file.h"
#include "kernels/bf16.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <stdexcept>

namespace templar {

namespace {

constexpr size_t block_values = 1 << 18;  // converted and written at once: stays in the cache

using Sink = std::function<void(ByteSpan)>;

std::string header_text(const std::vector<NamedTensor>& tensors, const Metadata& metadata, DType dtype, int64_t limit) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header[metadata_key] = metadata;
    int64_t offset = 0;
    for (const NamedTensor& tensor : tensors) {
        int64_t count = 1;
        for (int64_t dimension : tensor.shape) count *= dimension;
        if (tensor.name.size() > max_name_bytes || tensor.name == metadata_key || header.contains(tensor.name))
            throw std::invalid_argument("write_safetensors: the name " + tensor.name + " is too long or taken");
        if (count != std::ssize(tensor.values))
            throw std::invalid_argument("write_safetensors: shape and values of " + tensor.name + " differ");
        const int64_t end = offset + count * bytes_of(dtype);
        header[tensor.name] = {
            {"dtype", dtype == DType::f32 ? "F32" : "BF16"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const nlohmann::json::exception& error) {
        throw std::invalid_argument(std::string("write_safetensors: names and metadata must be UTF-8: ") +
                                    error.what());
    }
    text.resize((text.size() + 7) / 8 * 8, ' ');
    if (std::ssize(text) > limit)
        throw std::invalid_argument("write_safetensors: more names and metadata than a reader accepts");
    return text;
}

// Both forms of writing: `sink` takes the file's bytes from front to back.
void write_to(const Sink& sink, const std::vector<NamedTensor>& tensors, const Metadata& metadata,
              const SafetensorsOptions& options) {
    if (options.dtype != DType::f32 && options.dtype != DType::bf16)
        throw std::invalid_argument("write_safetensors: expected f32 or bf16");
    const std::string text = header_text(tensors, metadata, options.dtype, options.header_limit);
    ByteWriter length;
    length.put(uint64_t{text.size()});
    sink(length.bytes());
    sink(as_bytes(text));
    std::vector<bf16> rounded(options.dtype == DType::bf16 ? block_values : 0);
    int64_t done = 0;
    for (const NamedTensor& tensor : tensors)
        for (size_t at = 0; at < tensor.values.size(); at += block_values) {
            const auto values = tensor.values.subspan(at, std::min(block_values, tensor.values.size() - at));
            ByteSpan bytes{reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
            if (options.dtype == DType::bf16) {
                std::transform(values.begin(), values.end(), rounded.begin(),
                               [](float value) { return to_bf16(value); });
                bytes = {reinterpret_cast<const uint8_t*>(rounded.data()), values.size() * sizeof(bf16)};
            }
            sink(bytes);
            done += std::ssize(bytes);
            if (options.progress) options.progress(done);
        }
}

}  // namespace

Bytes write_safetensors(const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
    Bytes out;
    size_t data_bytes = 0;
    for (const NamedTensor& tensor : tensors) data_bytes += tensor.values.size_bytes();
    out.reserve(data_bytes + max_header_bytes);
    write_to([&out](ByteSpan bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }, tensors, metadata, {});
    return out;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata, const SafetensorsOptions& options) {
    FileWriter file(path);
    write_to([&file](ByteSpan bytes) { file.write(bytes); }, tensors, metadata, options);
    file.commit();
}

}  // namespace templar
