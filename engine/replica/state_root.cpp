#include "engine/replica/state_root.h"

#include "base/error.h"
#include "base/random.h"

#include <algorithm>
#include <bit>
#include <exception>

namespace templar {

namespace {

// One leaf: `count` elements of one tensor.
struct Leaf {
    uint32_t tensor;
    uint32_t index;  // within the tensor
    int64_t first;   // element of theta
    int64_t count;
};

// All leaves of the state in layout order; the last one of a tensor may be short.
std::vector<Leaf> all_leaves(const Layout& layout, std::span<const float> theta) {
    if (std::ssize(theta) != layout.parameters)
        fail(ExitCode::input, "state root: expected {} values as the layout says, found {}",
             layout.parameters, theta.size());
    std::vector<Leaf> leaves;
    for (size_t t = 0; t < layout.tensors.size(); ++t) {
        const TensorLayout& tensor = layout.tensors[t];
        uint32_t index = 0;
        for (int64_t first = 0; first < tensor.numel(); first += leaf_elements)
            leaves.push_back({static_cast<uint32_t>(t), index++, tensor.offset + first,
                              std::min(leaf_elements, tensor.numel() - first)});
    }
    return leaves;
}

// Appends the leaf's values as little-endian fp32.
void update_leaf(Sha256& hash, std::span<const float> theta, const Leaf& leaf) {
    const auto values = theta.subspan(leaf.first, leaf.count);
    if constexpr (std::endian::native == std::endian::little)
        hash.update({reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()});
    else
        for (float value : values) hash.update_le(std::bit_cast<uint32_t>(value));
}

Digest leaf_hash(std::span<const float> theta, const Leaf& leaf) {
    Sha256 hash;
    hash.update_le(uint8_t{0x00}).update_le(leaf.tensor).update_le(leaf.index);
    update_leaf(hash, theta, leaf);
    return hash.finish();
}

}  // namespace

StateTree state_tree(const Layout& layout, std::span<const float> theta, int threads) {
    const std::vector<Leaf> leaves = all_leaves(layout, theta);
    const auto count = std::ssize(leaves);
    std::vector<Digest> hashes(leaves.size());
    std::exception_ptr failure;  // no exception may leave a parallel region
#pragma omp parallel for num_threads(threads) schedule(static) if (count > 1)
    for (int64_t i = 0; i < count; ++i) {
        try {
            hashes[i] = leaf_hash(theta, leaves[i]);
        } catch (...) {
#pragma omp critical(templar_state_tree)
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);

    StateTree tree;
    Sha256 root;
    root.update_le(uint8_t{0x02}).update(layout.hash);
    size_t next = 0;
    for (size_t t = 0; t < layout.tensors.size(); ++t) {
        Sha256 tensor;
        tensor.update_le(uint8_t{0x01});
        for (; next < leaves.size() && leaves[next].tensor == t; ++next) tensor.update(hashes[next]);
        root.update(tree.tensors.emplace_back(tensor.finish()));
    }
    tree.root = root.finish();
    return tree;
}

Digest possession_proof(const Layout& layout, std::span<const float> theta, const Digest& root,
                        const Digest& hotkey, uint64_t window) {
    const std::vector<Leaf> leaves = all_leaves(layout, theta);
    if (leaves.empty())
        fail(ExitCode::input, "possession proof: expected a layout with parameters, found none");
    CounterRng rng(Sha256().update(root).update(hotkey).finish());
    Sha256 proof;
    proof.update("pop").update(hotkey).update_le(window);
    for (int i = 0; i < possession_leaves; ++i) update_leaf(proof, theta, leaves[rng.below(leaves.size())]);
    return proof.finish();
}

}  // namespace templar
