// safetensors files: named fp32 tensors and text metadata, read and written by Hugging Face's tools as they stand.
#pragma once

#include "base/bytes.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace templar {

struct NamedTensor {
    std::string name;
    std::vector<int64_t> shape;
    std::span<const float> values;
};

// The file's bytes: u64 header length, JSON header (padded with spaces to 8 bytes), tensors in the given order.
Bytes write_safetensors(const std::vector<NamedTensor>& tensors, const std::map<std::string, std::string>& metadata);

// A parsed view of fp32 safetensors bytes (kept by the caller, 8-byte aligned). Bounded and total: throws Error(input) naming
// the field for a header that is too long, not JSON, has overlapping, missing or out-of-range data, or another dtype.
struct SafetensorsView {
    std::vector<NamedTensor> tensors;  // in file order
    std::map<std::string, std::string> metadata;
};
SafetensorsView read_safetensors(ByteSpan bytes, std::string_view what);

}  // namespace templar
