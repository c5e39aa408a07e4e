// One hash that names the whole model state (docs/protocol.md §6, state root).
#pragma once

#include "engine/compress/layout.h"

#include <span>

namespace templar {

inline constexpr int64_t leaf_elements = 16384;

// Hash tree over theta (layout.parameters fp32 values): leaves of 16,384 elements, one node per tensor, one root.
struct StateTree {
    std::vector<Digest> tensors;  // in layout order
    Digest root{};
};
StateTree state_tree(const Layout& layout, std::span<const float> theta, int threads);

// SHA-256("pop" ‖ hotkey ‖ u64 window ‖ the 32 leaves chosen by SHA-256(root ‖ hotkey)): shows that its maker holds theta.
Digest possession_proof(const Layout& layout, std::span<const float> theta, const Digest& root, const Digest& hotkey,
                        uint64_t window);

}  // namespace templar
