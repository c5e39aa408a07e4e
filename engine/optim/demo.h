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
    // tensors: positions in layout.tensors, ascending, of those that this object has the momentum of and compresses; by default
    // all. The device and the layout outlive it.
    Demo(Device& device, const Layout& layout, float beta);
    Demo(Device& device, const Layout& layout, float beta, std::vector<size_t> tensors);

    // E <- beta·E + eta·DCT(scale·grads), packs the largest coefficients into payload (layout.payload_bytes bytes),
    // E <- E - decoded. grads: layout.parameters fp32 values on the device.
    // Throws Error(input), and changes nothing, when a gradient or eta·scale is not finite.
    void step(Tensor grads, float eta, float scale, std::span<uint8_t> payload);

    // The two halves of step(), for an object that has only some of the tensors: their squares, to be added over all and checked;
    // and the rest, which writes their sections of the payload.
    double sum_of_squares(Tensor grads) const;
    void compress(Tensor grads, float eta, std::span<uint8_t> payload);

    // The momentum of all its tensors, one after the other in chunk order: part of a miner's checkpoint.
    DeviceArray& momentum() { return momentum_; }
    const DeviceArray& momentum() const { return momentum_; }

    // To and from its places in layout.parameters values.
    void save_momentum(std::span<float> all) const;
    void load_momentum(std::span<const float> all);

  private:
    // A tensor, and where its momentum begins.
    struct Own {
        size_t tensor;
        int64_t offset;
    };
    Device& device_;
    const Layout& layout_;
    float beta_;
    std::vector<Own> own_;
    DeviceArray momentum_;
    DeviceMemory payload_;
};

}  // namespace templar
