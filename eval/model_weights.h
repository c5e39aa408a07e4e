#pragma once

#include "kernels/device.h"

#include <vector>

namespace templar {

// A model's weights as a device computes with them: in its compute type, in its memory.
class ModelWeights {
  public:
    // params: fp32, the flat arena of llama_parameters(). Where the device can compute with them in place, nothing is
    // held twice: `params` must then outlive this object. Throws as DeviceArray.
    ModelWeights(Device& device, std::span<const float> params);
    // Takes them over. On the CPU they are then moved to the beginning of a cache line where their vector has room for
    // it (arena_of_floats()): a token's products, which read every weight once, take a third less time there.
    ModelWeights(Device& device, std::vector<float>&& params);

    Tensor tensor() const { return array_ ? array_.tensor() : in_place_; }

  private:
    DeviceArray array_;
    std::vector<float> owned_;
    Tensor in_place_;
};

}  // namespace templar
