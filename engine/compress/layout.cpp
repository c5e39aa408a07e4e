#include "engine/compress/layout.h"

#include "base/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace templar {
namespace {

// Base exponents that some fp32 tensor needs. The smallest scale s > |v|/2^(b-1) of a magnitude 2^-149 <= |v|
// < 2^128 has the exponent X + 31 between -149 - 7 - 3 and 125, and X = 0 stands in a tensor of zeros.
// Anything else is no honest payload, and refusing it keeps every decoded value finite in double.
constexpr int min_base_exponent = -190;
constexpr int max_base_exponent = 94;

int read_base_exponent(const uint8_t* bytes) {
    return static_cast<int16_t>(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

void check_codec(const Codec& codec) {
    if (codec.k < 1) fail(ExitCode::input, "codec: expected k of at least 1, found {}", codec.k);
    if (codec.chunk_edge < 1 || codec.chunk_edge > 64)
        fail(ExitCode::input, "codec: expected a chunk edge from 1 to 64, found {}", codec.chunk_edge);
    const int b = codec.code_bits;
    if (b != 8 && b != 4 && b != 2 && b != 1)
        fail(ExitCode::input, "codec: expected 8, 4, 2 or 1 bits a code, found {}", b);
}

TensorLayout tensor_layout(const Parameter& parameter, const Codec& codec) {
    const auto& shape = parameter.shape;
    if (shape.size() != 1 && shape.size() != 2)
        fail(ExitCode::input, "layout of {}: expected 1 or 2 dimensions, found {}", parameter.name,
             shape.size());
    int64_t numel = 1;
    for (int64_t extent : shape)
        if (extent < 1 || __builtin_mul_overflow(numel, extent, &numel))
            fail(ExitCode::input, "layout of {}: impossible extent {}", parameter.name, extent);
    if (numel != parameter.numel)
        fail(ExitCode::input, "layout of {}: its shape has {} elements, its range {}", parameter.name, numel,
             parameter.numel);

    TensorLayout tensor;
    tensor.name = parameter.name;
    tensor.shape = shape;
    tensor.offset = parameter.offset;
    tensor.grid.rows = shape.size() == 2 ? shape[0] : 1;
    tensor.grid.cols = shape.back();
    tensor.grid.edge_rows = static_cast<int32_t>(chunk_edge(tensor.grid.rows, codec.chunk_edge));
    tensor.grid.edge_cols = static_cast<int32_t>(chunk_edge(tensor.grid.cols, codec.chunk_edge));
    const int32_t size = tensor.grid.chunk_size();
    tensor.format.k = std::min(codec.k, size);
    tensor.format.code_bits = codec.code_bits;
    tensor.format.index_bits = std::bit_width(static_cast<uint32_t>(size) - 1);
    return tensor;
}

// SHA-256 of, all integers little-endian:
//   "templar.cpp/layout/1" 0x00, i32 k, i32 chunk edge, i32 code bits, u8 index coding (0), u32 number of
//   tensors; then for each tensor u32 length of its name, the name, u32 rank, i64 extents, i32 edge_rows, i32
//   edge_cols, i32 k of the tensor.
Digest layout_hash(const Layout& layout) {
    Sha256 hash;
    hash.update("templar.cpp/layout/1").update_le(uint8_t{0});
    hash.update_le(layout.codec.k).update_le(layout.codec.chunk_edge).update_le(layout.codec.code_bits);
    hash.update_le(uint8_t{0}).update_le(static_cast<uint32_t>(layout.tensors.size()));
    for (const TensorLayout& tensor : layout.tensors) {
        hash.update_le(static_cast<uint32_t>(tensor.name.size())).update(tensor.name);
        hash.update_le(static_cast<uint32_t>(tensor.shape.size()));
        for (int64_t extent : tensor.shape) hash.update_le(extent);
        hash.update_le(tensor.grid.edge_rows).update_le(tensor.grid.edge_cols).update_le(tensor.format.k);
    }
    return hash.finish();
}

template <class Byte>
BasicSparse<Byte> sections(const TensorLayout& tensor, std::span<Byte> payload) {
    const int64_t end =
        tensor.indices + packed_bytes(tensor.grid.chunks() * tensor.format.k, tensor.format.index_bits);
    if (std::ssize(payload) < end)
        fail(ExitCode::input, "payload: {} ends at byte {}, but there are only {}", tensor.name, end,
             payload.size());
    Byte* bytes = payload.data();
    return {bytes + tensor.base_exponent, bytes + tensor.scales, bytes + tensor.codes, bytes + tensor.indices,
            tensor.format};
}

// The bits after the last field of a packed section.
bool padding_is_zero(const uint8_t* section, int64_t count, int bits) {
    const int used = static_cast<int>(count * bits % 8);
    return used == 0 || section[packed_bytes(count, bits) - 1] >> used == 0;
}

std::string chunk_fault(const TensorLayout& tensor, const SparseIn& sparse, int64_t chunk) {
    const auto [k, code_bits, index_bits] = sparse.format;
    const int32_t size = tensor.grid.chunk_size();
    const bool reserved = sparse.scales[chunk] == 0;
    int32_t previous = -1;
    for (int32_t i = 0; i < k; ++i) {
        const int64_t position = chunk * k + i;
        const auto index = static_cast<int32_t>(packed_field(sparse.indices, position, index_bits));
        if (index >= size)
            return fmt::format("{}, chunk {}, value {}: expected an index below {}, found {}", tensor.name,
                               chunk, i, size, index);
        if (index <= previous)
            return fmt::format("{}, chunk {}, value {}: expected an index above {}, found {}", tensor.name,
                               chunk, i, previous, index);
        previous = index;
        if (!reserved) continue;
        if (index != i)
            return fmt::format("{}, chunk {}, value {}: scale byte 0 expects index {}, found {}", tensor.name,
                               chunk, i, i, index);
        if (const uint32_t code = packed_field(sparse.codes, position, code_bits); code != 0)
            return fmt::format("{}, chunk {}, value {}: scale byte 0 expects code 0, found {}", tensor.name,
                               chunk, i, code);
    }
    return {};
}

std::string tensor_fault(const TensorLayout& tensor, const SparseIn& sparse) {
    const int64_t chunks = tensor.grid.chunks();
    const int64_t values = chunks * sparse.format.k;
    const int exponent = read_base_exponent(sparse.base_exponent);
    const bool zero =
        std::all_of(sparse.scales, sparse.scales + chunks, [](uint8_t scale) { return scale == 0; });
    if (zero && exponent != 0)
        return fmt::format("{}: a tensor of zeros expects base exponent 0, found {}", tensor.name, exponent);
    if (exponent < min_base_exponent || exponent > max_base_exponent)
        return fmt::format("{}: expected a base exponent from {} to {}, found {}", tensor.name,
                           min_base_exponent, max_base_exponent, exponent);
    if (!padding_is_zero(sparse.codes, values, sparse.format.code_bits))
        return fmt::format("{}: expected zero bits after the last code, found others", tensor.name);
    if (!padding_is_zero(sparse.indices, values, sparse.format.index_bits))
        return fmt::format("{}: expected zero bits after the last index, found others", tensor.name);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
        if (std::string fault = chunk_fault(tensor, sparse, chunk); !fault.empty()) return fault;
    return {};
}

}  // namespace

int64_t chunk_edge(int64_t n, int64_t target) {
    for (int64_t edge = std::min(n, target); edge > 1; --edge)
        if (n % edge == 0) return edge;
    return 1;
}

Layout make_layout(const std::vector<Parameter>& parameters, const Codec& codec) {
    check_codec(codec);
    Layout layout;
    layout.codec = codec;
    for (const Parameter& parameter : parameters) {
        if (parameter.offset != layout.parameters)
            fail(ExitCode::input, "layout of {}: expected offset {} (tightly packed), found {}",
                 parameter.name, layout.parameters, parameter.offset);
        TensorLayout tensor = tensor_layout(parameter, codec);
        const int64_t chunks = tensor.grid.chunks();
        const int64_t values = chunks * tensor.format.k;
        tensor.base_exponent = layout.payload_bytes;
        tensor.scales = tensor.base_exponent + 2;
        tensor.codes = tensor.scales + chunks;
        tensor.indices = tensor.codes + packed_bytes(values, tensor.format.code_bits);
        layout.payload_bytes = tensor.indices + packed_bytes(values, tensor.format.index_bits);
        layout.parameters += tensor.numel();
        layout.tensors.push_back(std::move(tensor));
    }
    layout.hash = layout_hash(layout);
    return layout;
}

SparseOut sparse_out(const TensorLayout& tensor, std::span<uint8_t> payload) {
    return sections(tensor, payload);
}

SparseIn sparse_in(const TensorLayout& tensor, std::span<const uint8_t> payload) {
    return sections(tensor, payload);
}

std::string payload_fault(const Layout& layout, std::span<const uint8_t> payload) {
    if (std::ssize(payload) != layout.payload_bytes)
        return fmt::format("payload: expected {} bytes, found {}", layout.payload_bytes, payload.size());
    for (const TensorLayout& tensor : layout.tensors)
        if (std::string fault = tensor_fault(tensor, sparse_in(tensor, payload)); !fault.empty())
            return fault;
    return {};
}

double index_overlap(const Layout& layout, std::span<const uint8_t> a, std::span<const uint8_t> b) {
    double sum = 0;
    int64_t counted = 0;
    for (const TensorLayout& tensor : layout.tensors) {
        const auto [k, code_bits, bits] = tensor.format;
        if (k == tensor.grid.chunk_size()) continue;  // everything is sent: equal indices say nothing
        const SparseIn x = sparse_in(tensor, a), y = sparse_in(tensor, b);
        const double expected = static_cast<double>(k) / tensor.grid.chunk_size();
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk) {
            if (x.scales[chunk] == 0 || y.scales[chunk] == 0) continue;
            int64_t equal = 0;
            for (int64_t i = chunk * k, j = i, end = i + k; i < end && j < end;) {
                const uint32_t first = packed_field(x.indices, i, bits),
                               second = packed_field(y.indices, j, bits);
                equal += first == second;
                i += first <= second;
                j += second <= first;
            }
            sum += (static_cast<double>(equal) / k - expected) / (1 - expected);
            ++counted;
        }
    }
    return counted == 0 ? 0 : std::max(0.0, sum / static_cast<double>(counted));
}

std::vector<CodedValue> decode_chunk(const SparseIn& sparse, const ChunkGrid& grid, int64_t chunk) {
    if (chunk < 0 || chunk >= grid.chunks())
        fail(ExitCode::internal, "decode: expected a chunk below {}, found {}", grid.chunks(), chunk);
    const auto [k, code_bits, index_bits] = sparse.format;
    const int scale = sparse.scales[chunk];
    const int exponent = read_base_exponent(sparse.base_exponent) + (scale >> 3);
    std::vector<CodedValue> values(static_cast<size_t>(k));
    for (int32_t i = 0; i < k; ++i) {
        CodedValue& value = values[static_cast<size_t>(i)];
        value.index = static_cast<int32_t>(packed_field(sparse.indices, chunk * k + i, index_bits));
        const uint32_t field = packed_field(sparse.codes, chunk * k + i, code_bits);
        const int32_t magnitude = 2 * static_cast<int32_t>(field >> 1) + 1;
        value.code = scale == 0 ? 0 : (field & 1) ? -magnitude : magnitude;
        value.value = std::ldexp(value.code * (8 + (scale & 7)), exponent - 1);
    }
    return values;
}

}  // namespace templar
