// DeMo: momentum kept in the DCT domain, the largest coefficients of each chunk sent, the rest kept as error feedback
// (docs/protocol.md §5; the original is arXiv 2411.19870).
#pragma once

#include "engine/compress/layout.h"
#include "kernels/ops.h"

#include <span>
#include <vector>

namespace templar {

class Demo {
  public:
    Demo(const Ops& ops, Stream stream, const Layout& layout, float beta);

    // E <- beta·E + eta·DCT(scale·grads), packs the largest coefficients into payload (layout.payload_bytes bytes),
    // E <- E - decoded. grads: layout.parameters values.
    // Throws Error(input), and changes nothing, when a gradient or eta·scale is not finite.
    void step(std::span<const float> grads, float eta, float scale, std::span<uint8_t> payload);

    // The momentum, layout.parameters values in chunk order: part of a miner's checkpoint.
    std::vector<float>& momentum() { return momentum_; }
    const std::vector<float>& momentum() const { return momentum_; }

  private:
    const Ops& ops_;
    Stream stream_;
    const Layout& layout_;
    float beta_;
    std::vector<float> momentum_;
};

}  // namespace templar
