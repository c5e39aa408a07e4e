// Where everything stands in a payload: fixed by the run, so that every length is known before a byte is read
// (docs/protocol.md §5.1).
#pragma once

#include "base/sha256.h"
#include "engine/model/config.h"
#include "kernels/sparse.h"

#include <span>
#include <string>
#include <vector>

namespace templar {

struct Codec {
    int32_t k = 32;            // kept coefficients per chunk (clamped to the chunk's size)
    int32_t chunk_edge = 64;   // chunk edge = largest divisor <= this of each dimension
    int32_t code_bits = 8;     // 8, 4, 2 or 1
    bool operator==(const Codec&) const = default;
};

// Largest divisor of n that is <= target.
int64_t chunk_edge(int64_t n, int64_t target);

struct TensorLayout {
    std::string name;
    std::vector<int64_t> shape;
    int64_t offset = 0;  // first element in the flat parameter arena; the DCT-domain momentum uses the same range
    ChunkGrid grid;
    CodeFormat format;
    // Byte offsets of the four sections in the payload.
    int64_t base_exponent = 0, scales = 0, codes = 0, indices = 0;
    int64_t numel() const { return grid.rows * grid.cols; }
};

struct Layout {
    Codec codec;
    std::vector<TensorLayout> tensors;
    int64_t parameters = 0;
    int64_t payload_bytes = 0;
    Digest hash{};  // over tensor names, shapes, chunk edges, k, b, coding
};

// Throws Error(input) on an impossible codec.
Layout make_layout(const std::vector<Parameter>& parameters, const Codec& codec);

// One tensor's sections inside a payload of layout.payload_bytes bytes.
SparseOut sparse_out(const TensorLayout& tensor, std::span<uint8_t> payload);
SparseIn sparse_in(const TensorLayout& tensor, std::span<const uint8_t> payload);

// Empty when the payload obeys §5.1 in every bit: length, base exponents that fp32 values can need, reserved chunks,
// indices in range and ascending, zero padding. Otherwise the reason, naming the tensor, chunk, what was expected and
// what was found. Any bytes of any length may be passed.
std::string payload_fault(const Layout& layout, std::span<const uint8_t> payload);

// Mean over chunks of the share of equal indices, minus what independent choice would give, rescaled to 0…1
// (docs/protocol.md §8.1, index overlap). Chunks that are sent whole, or are zero in a or b, do not count; 0 when
// none is left. Both payloads must be well-formed.
double index_overlap(const Layout& layout, std::span<const uint8_t> a, std::span<const uint8_t> b);

// For readers and tests: one kept value.
struct CodedValue {
    int32_t index;
    int32_t code;   // sign·(2q + 1)
    double value;   // code·s/2
};
// The k values of a chunk in index order.
std::vector<CodedValue> decode_chunk(const SparseIn& sparse, const ChunkGrid& grid, int64_t chunk);

}  // namespace templar
