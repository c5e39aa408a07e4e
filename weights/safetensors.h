// safetensors files: named tensors and text metadata, read and written by Hugging Face's tools as they stand.
#pragma once

#include "base/bytes.h"
#include "kernels/tensor.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace templar {

using Metadata = std::map<std::string, std::string>;

// For the headers of models: room for nine thousand tensors, and a bound on what a stranger's file may cost.
inline constexpr int64_t max_header_bytes = 1 << 20;
// Of a tensor's name, and the one name that a tensor cannot have.
inline constexpr size_t max_name_bytes = 512;
inline constexpr const char* metadata_key = "__metadata__";

// A tensor to be written.
struct NamedTensor {
    std::string name;
    std::vector<int64_t> shape;
    std::span<const float> values;
};

// The file's bytes: u64 header length, JSON header (padded with spaces to 8 bytes), fp32 tensors in the given order.
Bytes write_safetensors(const std::vector<NamedTensor>& tensors, const Metadata& metadata);

struct SafetensorsOptions {
    DType dtype = DType::f32;                       // or bf16: rounded to nearest, ties to even
    std::function<void(int64_t bytes)> progress{};  // data written so far; what it throws ends the writing
    int64_t header_limit = max_header_bytes;        // the reader's
};
// The same as a file that appears as one step, written piece by piece. Throws Error(storage), e.g. when the disk is
// full.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata, const SafetensorsOptions& options = {});

// A tensor as a file has it.
struct StoredTensor {
    std::string name;
    std::string dtype;  // one of the format's names: F32, BF16, F16, I64, …
    std::vector<int64_t> shape;
    ByteSpan bytes;  // little-endian, not aligned
    int64_t count() const;
};

struct SafetensorsView {
    std::vector<StoredTensor> tensors;  // in file order
    Metadata metadata;
};

// A view of a file's bytes, which the caller keeps. Bounded and total: throws Error(input) naming the field when the
// header is too long, not JSON, or names something twice; when a tensor has a dtype that the format does not know, or
// as many bytes as its shape and dtype do not ask for; when tensors overlap, leave a gap, or end before or after the
// file.
SafetensorsView read_safetensors(ByteSpan bytes, std::string_view what, int64_t header_limit = max_header_bytes);

// The tensor's values as fp32: exact. Throws Error(input) unless it is F32, BF16 or F16 of out.size() values.
void read_values(const StoredTensor& tensor, std::span<float> out, std::string_view what);

}  // namespace templar
