// What a miner sends for one tensor: the k largest coefficients of each chunk, coded (docs/protocol.md §5.1).
#pragma once

#include <cstdint>

namespace templar {

// How a tensor (rows, cols) is cut: (rows/edge_rows)·(cols/edge_cols) chunks in row-major order, each edge_rows ×
// edge_cols. A 1-D tensor of n elements is (1, n) with edge_rows = 1. In the frequency domain a chunk is stored
// contiguously, index u·edge_cols + v, u the frequency along the rows.
struct ChunkGrid {
    int64_t rows = 0;
    int64_t cols = 0;
    int32_t edge_rows = 1;
    int32_t edge_cols = 1;

    int64_t chunks() const { return (rows / edge_rows) * (cols / edge_cols); }
    int32_t chunk_size() const { return edge_rows * edge_cols; }
};

// Codec parameters of one tensor.
struct CodeFormat {
    int32_t k = 0;           // kept coefficients per chunk, <= chunk size
    int32_t code_bits = 8;   // b in {8, 4, 2, 1}
    int32_t index_bits = 12; // ceil(log2(chunk size))
};

// One tensor's section of a payload, as pointers into the payload's bytes (not owned).
// `Byte` is uint8_t when it is written and const uint8_t when it is read.
template <class Byte>
struct BasicSparse {
    Byte* base_exponent;  // int16 X, little-endian
    Byte* scales;         // (chunks) 5-bit exponent x << 3 | 3-bit mantissa m; 0: every kept value is zero
    Byte* codes;          // (chunks * k) code_bits each, packed low bits first: q << 1 | sign, sign 1 = negative
    Byte* indices;        // (chunks * k) index_bits each, packed low bits first, ascending inside a chunk
    CodeFormat format;
};
using SparseOut = BasicSparse<uint8_t>;
using SparseIn = BasicSparse<const uint8_t>;

// Bytes of a packed section of `count` fields; the bits left over in the last byte are zero.
[[gnu::always_inline]] inline int64_t packed_bytes(int64_t count, int bits) { return (count * bits + 7) / 8; }

// Field `position` of a packed section, `bits` <= 16 each. Touches no byte but those the field lies in; 0 bits: none.
[[gnu::always_inline]] inline uint32_t packed_field(const uint8_t* section, int64_t position, int bits) {
    if (bits == 0) return 0;
    const int64_t first = position * bits;
    const uint8_t* bytes = section + (first >> 3);
    const int shift = static_cast<int>(first & 7);
    uint32_t word = bytes[0];
    if (shift + bits > 8) word |= static_cast<uint32_t>(bytes[1]) << 8;
    if (shift + bits > 16) word |= static_cast<uint32_t>(bytes[2]) << 16;
    return (word >> shift) & ((1u << bits) - 1);
}

}  // namespace templar
