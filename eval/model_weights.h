#pragma once

#include "kernels/device.h"

namespace templar {

// A model's weights as a device computes with them: in its compute type, in its memory. Where both are those of
// `params` they are read in place, so that nothing is held twice: `params` must then outlive this object.
class ModelWeights {
  public:
    // params: fp32, the flat arena of llama_parameters(). Throws as DeviceArray.
    ModelWeights(Device& device, std::span<const float> params);
    Tensor tensor() const { return array_ ? array_.tensor() : in_place_; }

  private:
    DeviceArray array_;
    Tensor in_place_;
};

}  // namespace templar
