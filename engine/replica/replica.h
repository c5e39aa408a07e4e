// The one thing that changes global weights (docs/protocol.md §6). Every replica that applies the same records to the same
// genesis holds the same bits.
#pragma once

#include "engine/replica/state_root.h"
#include "kernels/device.h"

#include <mutex>
#include <span>
#include <vector>

namespace templar {

// What a record says about the step, as the exact bits every replica uses.
struct OuterStep {
    float eta;   // learning rate
    float keep;  // weight-decay factor: theta <- theta·keep - eta·sign
};

// Payloads in the memory of a device, where operations read them. On a device that shares the host's memory they stay where
// they are.
class PayloadStage {
  public:
    PayloadStage(Device& device, int64_t payload_bytes) : device_(device), payload_bytes_(payload_bytes) {}
    // Each payload as the device sees it, until the next call; the host's bytes may be reused on return. Allocates only for
    // more payloads than ever before. Throws Error(input) on one of another length.
    std::vector<std::span<const uint8_t>> operator()(std::span<const std::span<const uint8_t>> payloads);

  private:
    Device& device_;
    int64_t payload_bytes_;
    DeviceMemory memory_;
};

class Replica {
  public:
    // theta: layout.parameters values. Throws Error(input) when the length differs. The device outlives the replica.
    Replica(Device& device, Layout layout, std::span<const float> theta);

    const Layout& layout() const { return layout_; }
    // On the device: the fp32 master weights, and the weights in the device's compute type (theta itself where that is fp32).
    Tensor theta() const { return theta_.tensor(); }
    Tensor weights() const { return weights_ ? weights_.tensor() : theta_.tensor(); }
    std::vector<float> host_theta() const { return theta_.download(); }
    const Digest& root() const { return tree_.root; }
    const StateTree& tree() const { return tree_; }

    // Merges the accepted payloads (well-formed: payload_fault() is empty) and applies the step; order does not matter.
    // No payload: nothing changes. At most 256 payloads.
    void apply(const OuterStep& step, std::span<const std::span<const uint8_t>> payloads);

    // out (layout.parameters, the compute type) = theta - step·sign(decode(payload)); theta is untouched.
    void candidate(Tensor out, std::span<const uint8_t> payload, float step);

    // For this state; see state_root.h. Safe from several threads at once while nothing else uses the device.
    Digest possession_proof(const Digest& hotkey, uint64_t window) const;

  private:
    Device& device_;
    Layout layout_;
    DeviceArray theta_, weights_;
    PayloadStage stage_;
    StateHasher hasher_;
    StateTree tree_;
    mutable std::mutex reading_;
};

}  // namespace templar
