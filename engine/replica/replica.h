// The one thing that changes global weights (docs/protocol.md §6). Every replica that applies the same records to the same
// genesis holds the same bits.
#pragma once

#include "engine/replica/state_root.h"
#include "kernels/ops.h"

#include <span>
#include <vector>

namespace templar {

// What a record says about the step, as the exact bits every replica uses.
struct OuterStep {
    float eta;   // learning rate
    float keep;  // weight-decay factor: theta <- theta·keep - eta·sign
};

class Replica {
  public:
    // theta: layout.parameters values. Throws Error(input) when the length differs.
    Replica(const Ops& ops, Stream stream, Layout layout, std::vector<float> theta);

    const Layout& layout() const { return layout_; }
    std::span<const float> theta() const { return theta_; }
    const Digest& root() const { return tree_.root; }
    const StateTree& tree() const { return tree_; }

    // Merges the accepted payloads (well-formed: payload_fault() is empty) and applies the step; order does not matter.
    // No payload: nothing changes. At most 256 payloads.
    void apply(const OuterStep& step, std::span<const std::span<const uint8_t>> payloads);

    // out (layout.parameters) = theta - step·sign(decode(payload)); theta is untouched.
    void candidate(std::span<float> out, std::span<const uint8_t> payload, float step) const;

  private:
    const Ops& ops_;
    mutable Stream stream_;
    Layout layout_;
    std::vector<float> theta_;
    StateTree tree_;
};

}  // namespace templar
