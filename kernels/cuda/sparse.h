// Payloads (kernels/sparse.h) on the GPU: where the peers' sections lie, as a kernel's parameter, and one value read
// from them.
#pragma once

#include "base/error.h"
#include "kernels/cuda/cuda.h"
#include "kernels/dct_basis.h"
#include "kernels/sparse.h"

#include <cstdint>
#include <span>

namespace templar::cuda {

inline constexpr int max_chunk_size = max_chunk_edge * max_chunk_edge;

// One tensor's sections of up to `capacity` payloads of one format. Passed by value: a kernel's parameters reach it in
// the order of the stream without an allocation, and no host buffer has to outlive the call. (They hold 32,764 bytes
// since CUDA 12.1; 256 peers take 6 KiB.)
template <int capacity>
struct PeerList {
    const uint8_t* scales[capacity];
    const uint8_t* codes[capacity];
    const uint8_t* indices[capacity];
    int count;
    CodeFormat format;
};

// One kept value: c·(8 + m), an odd integer times the mantissa, below 2^12 in magnitude; 2^x is its chunk's.
struct CodedValue {
    int index;
    int unit;
};

// As packed_field(), which see.
__device__ __forceinline__ unsigned load_field(const uint8_t* section, int64_t position, int bits) {
    if (bits == 0) return 0;
    const int64_t first = position * bits;
    const uint8_t* const bytes = section + (first >> 3);
    const int shift = static_cast<int>(first & 7);
    unsigned word = bytes[0];
    if (shift + bits > 8) word |= static_cast<unsigned>(bytes[1]) << 8;
    if (shift + bits > 16) word |= static_cast<unsigned>(bytes[2]) << 16;
    return (word >> shift) & ((1u << bits) - 1);
}

__device__ __forceinline__ int load_code(const uint8_t* codes, int64_t position, int bits) {
    const unsigned packed = bits == 8 ? codes[position] : load_field(codes, position, bits);
    const int magnitude = static_cast<int>(packed | 1);  // q << 1 | sign -> 2q + 1
    return packed & 1 ? -magnitude : magnitude;
}

// Value `position` (counted over all chunks) of a peer, in a chunk with this scale byte.
template <int capacity>
__device__ __forceinline__ CodedValue load_value(const PeerList<capacity>& peers, int p, int64_t position, int scale) {
    const int index = static_cast<int>(load_field(peers.indices[p], position, peers.format.index_bits));
    return {index, load_code(peers.codes[p], position, peers.format.code_bits) * (8 + (scale & 7))};
}

__device__ __forceinline__ double power_of_two(int x) { return static_cast<double>(1ull << x); }

// ---- for launchers ----
// Throws Error(internal) when there are too many peers, or they do not share one format that fits the grid.
template <int capacity>
PeerList<capacity> peer_list(const char* op, const ChunkGrid& grid, std::span<const SparseIn> peers) {
    if (std::ssize(peers) > capacity)
        fail(ExitCode::internal, "{}: expected at most {} payloads, found {}", op, capacity, peers.size());
    PeerList<capacity> list{};
    for (const SparseIn& peer : peers) {
        const CodeFormat format = peer.format, first = peers.front().format;
        const bool same =
            format.k == first.k && format.code_bits == first.code_bits && format.index_bits == first.index_bits;
        if (!same || format.k < 1 || format.k > grid.chunk_size() || format.index_bits > 12)
            fail(ExitCode::internal, "{}: payload {} has k = {}, {} bits a code and {} bits an index", op, list.count,
                 format.k, format.code_bits, format.index_bits);
        list.scales[list.count] = peer.scales;
        list.codes[list.count] = peer.codes;
        list.indices[list.count] = peer.indices;
        list.format = format;
        ++list.count;
    }
    return list;
}

}  // namespace templar::cuda
