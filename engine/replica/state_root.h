// One hash that names the whole model state (docs/protocol.md §6, state root).
#pragma once

#include "engine/compress/layout.h"
#include "kernels/device.h"

#include <functional>
#include <span>

namespace templar {

// Hash tree over theta (layout.parameters fp32 values): leaves of 16,384 elements, one node per tensor, one
// root.
//   leaf   = SHA-256(0x00 ‖ u32 tensor ‖ u32 leaf within the tensor ‖ its fp32 values, little-endian)
//   tensor = SHA-256(0x01 ‖ its leaves' hashes)
//   root   = SHA-256(0x02 ‖ layout hash ‖ tensors' hashes)
// The last leaf of a tensor may be short; no leaf crosses tensors.
struct StateTree {
    std::vector<Digest> tensors;  // in layout order
    Digest root{};
};

// Computes it where theta is.
class StateHasher {
  public:
    StateHasher(Device& device, const Layout& layout);  // both outlive this object
    // theta: layout.parameters fp32 values on the device.
    StateTree operator()(Tensor theta);

  private:
    Device& device_;
    const Layout& layout_;
    std::vector<int64_t> first_;  // each tensor's first element, and the end
    int64_t leaves_ = 0;
    DeviceMemory hashes_;  // nodes, then leaves, 32 bytes each
};

// On the CPU. Any number of threads gives the same tree. Throws Error(input) when theta's length is not the layout's.
StateTree state_tree(const Layout& layout, std::span<const float> theta, int threads);

inline constexpr int possession_leaves = 32;

// SHA-256("pop" ‖ hotkey ‖ u64 window ‖ 32 leaves of the state), each leaf as the raw bytes of its values (no
// prefix, not its hash: whoever holds only the hash tree cannot answer). With all leaves of the state listed
// in layout order, leaf i is number below(leaves) of the i-th draw of a CounterRng keyed by SHA-256(root ‖
// hotkey); a leaf may be drawn twice. Shows that its maker holds theta. `read` fills in theta's values from
// element `first` on. Throws Error(input) when theta's length is not the layout's.
using ReadValues = std::function<void(int64_t first, std::span<float> values)>;
Digest possession_proof(const Layout& layout, const ReadValues& read, const Digest& root, const Digest& hotkey,
                        uint64_t window);
Digest possession_proof(const Layout& layout, std::span<const float> theta, const Digest& root,
                        const Digest& hotkey, uint64_t window);

}  // namespace templar
