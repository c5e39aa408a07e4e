#include "engine/replica/state_root.h"

#include "base/error.h"
#include "base/random.h"

#include <algorithm>

namespace templar {

namespace {

// One leaf: `count` elements of theta from `first` on.
struct Leaf {
    int64_t first, count;
};

// All leaves of the state in layout order; the last one of a tensor may be short.
std::vector<Leaf> all_leaves(const Layout& layout) {
    std::vector<Leaf> leaves;
    for (const TensorLayout& tensor : layout.tensors)
        for (int64_t begin = 0; begin < tensor.numel(); begin += leaf_elements)
            leaves.push_back({tensor.offset + begin, std::min(leaf_elements, tensor.numel() - begin)});
    return leaves;
}

void check_length(const Layout& layout, int64_t length) {
    if (length != layout.parameters)
        fail(ExitCode::input, "state root: expected {} values as the layout says, found {}", layout.parameters, length);
}

}  // namespace

StateHasher::StateHasher(Device& device, const Layout& layout) : device_(device), layout_(layout) {
    for (const TensorLayout& tensor : layout.tensors) first_.push_back(tensor.offset);
    first_.push_back(layout.parameters);
    leaves_ = std::ssize(all_leaves(layout));
    hashes_ = DeviceMemory(device, (std::ssize(layout.tensors) + leaves_) * 32);
}

StateTree StateHasher::operator()(Tensor theta) {
    check_length(layout_, theta.numel());
    const int64_t tensors = std::ssize(layout_.tensors);
    const Tensor hashes(hashes_.data(), DType::u8, {tensors + leaves_, 32});
    device_.ops().state_tree(device_.stream(), hashes.view(0, {tensors, 32}), hashes.view(tensors * 32, {leaves_, 32}), theta,
                             first_);
    StateTree tree;
    tree.tensors.resize(layout_.tensors.size());
    device_.download(device_.stream(), tree.tensors.data(), hashes.data, tensors * 32);
    device_.wait(device_.stream());
    Sha256 root;
    root.update_le(uint8_t{0x02}).update(layout_.hash);
    for (const Digest& tensor : tree.tensors) root.update(tensor);
    tree.root = root.finish();
    return tree;
}

StateTree state_tree(const Layout& layout, std::span<const float> theta, int threads) {
    const std::unique_ptr<Device> device = cpu_device(threads);
    return StateHasher(*device, layout)(Tensor(theta.data(), {std::ssize(theta)}));
}

Digest possession_proof(const Layout& layout, const ReadValues& read, const Digest& root, const Digest& hotkey,
                        uint64_t window) {
    const std::vector<Leaf> leaves = all_leaves(layout);
    if (leaves.empty())
        fail(ExitCode::input, "possession proof: expected a layout with parameters, found none");
    CounterRng rng(Sha256().update(root).update(hotkey).finish());
    Sha256 proof;
    proof.update("pop").update(hotkey).update_le(window);
    std::vector<float> values;
    for (int i = 0; i < possession_leaves; ++i) {
        const Leaf& leaf = leaves[rng.below(leaves.size())];
        values.resize(static_cast<size_t>(leaf.count));
        read(leaf.first, values);
        proof.update({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
    }
    return proof.finish();
}

Digest possession_proof(const Layout& layout, std::span<const float> theta, const Digest& root,
                        const Digest& hotkey, uint64_t window) {
    check_length(layout, std::ssize(theta));
    return possession_proof(
        layout,
        [&](int64_t first, std::span<float> values) {
            std::ranges::copy(theta.subspan(static_cast<size_t>(first), values.size()), values.begin());
        },
        root, hotkey, window);
}

}  // namespace templar
