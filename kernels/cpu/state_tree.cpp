#include "kernels/cpu/state_tree.h"

#include "base/sha256.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <vector>

namespace templar {

namespace {

// One leaf: `count` elements of one tensor.
struct Leaf {
    uint32_t tensor;
    uint32_t index;  // within the tensor
    int64_t first;   // element of theta
    int64_t count;
};

std::vector<Leaf> all_leaves(std::span<const int64_t> first) {
    std::vector<Leaf> leaves;
    for (size_t t = 0; t + 1 < first.size(); ++t) {
        uint32_t index = 0;
        for (int64_t begin = first[t]; begin < first[t + 1]; begin += leaf_elements)
            leaves.push_back({static_cast<uint32_t>(t), index++, begin, std::min(leaf_elements, first[t + 1] - begin)});
    }
    return leaves;
}

Digest leaf_hash(const float* theta, const Leaf& leaf) {
    static_assert(std::endian::native == std::endian::little, "leaves are hashed as they lie in memory");
    Sha256 hash;
    hash.update_le(uint8_t{0x00}).update_le(leaf.tensor).update_le(leaf.index);
    hash.update(
        {reinterpret_cast<const uint8_t*>(theta + leaf.first), static_cast<size_t>(leaf.count) * sizeof(float)});
    return hash.finish();
}

}  // namespace

void cpu_state_tree(Stream& stream, Tensor nodes, Tensor leaf_hashes, Tensor theta, std::span<const int64_t> first) {
    const std::vector<Leaf> leaves = all_leaves(first);
    const auto count = std::ssize(leaves);
    uint8_t* const hashes = leaf_hashes.u8();
    std::exception_ptr failure;  // no exception may leave a parallel region
#pragma omp parallel for num_threads(stream.threads) schedule(static) if (count > 1)
    for (int64_t i = 0; i < count; ++i) {
        try {
            std::ranges::copy(leaf_hash(theta.f32(), leaves[i]), hashes + i * 32);
        } catch (...) {
#pragma omp critical(templar_state_tree)
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);

    for (int64_t t = 0, next = 0; t + 1 < std::ssize(first); ++t) {
        Sha256 node;
        node.update_le(uint8_t{0x01});
        const int64_t mine = (first[t + 1] - first[t] + leaf_elements - 1) / leaf_elements;
        node.update({hashes + next * 32, static_cast<size_t>(mine) * 32});
        std::ranges::copy(node.finish(), nodes.u8() + t * 32);
        next += mine;
    }
}

}  // namespace templar
