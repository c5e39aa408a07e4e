// DeMo: momentum kept in the DCT domain, the largest coefficients of each chunk sent, the rest kept as error feedback
// (docs/protocol.md §5; the original is arXiv 2411.19870).
#pragma once

#include "engine/compress/layout.h"
#include "kernels/device.h"

#include <span>
#include <vector>

namespace templar {

class Demo {
  public:
    Demo(Device& device, const Layout& layout, float beta);

    // E <- beta·E + eta·DCT(scale·grads), packs the largest coefficients into payload (layout.payload_bytes bytes),
    // E <- E - decoded. grads: layout.parameters fp32 values on the device.
    // Throws Error(input), and changes nothing, when a gradient or eta·scale is not finite.
    void step(Tensor grads, float eta, float scale, std::span<uint8_t> payload);

    // The momentum, layout.parameters values in chunk order: part of a miner's checkpoint.
    DeviceArray& momentum() { return momentum_; }
    const DeviceArray& momentum() const { return momentum_; }

  private:
    Device& device_;
    const Layout& layout_;
    float beta_;
    DeviceArray momentum_;
    DeviceMemory payload_;
};

}  // namespace templar
