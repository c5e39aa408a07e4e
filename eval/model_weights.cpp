#include "eval/model_weights.h"

namespace templar {

ModelWeights::ModelWeights(Device& device, std::span<const float> params) {
    if (device.shares_host_memory() && device.compute_type() == DType::f32) {
        in_place_ = Tensor(params.data(), {std::ssize(params)});
        return;
    }
    DeviceArray all(device, params);
    if (device.compute_type() == DType::f32) {
        array_ = std::move(all);
        return;
    }
    array_ = DeviceArray(device, device.compute_type(), all.size());
    device.ops().round_weights(device.stream(), array_.tensor(), all.tensor());
    device.wait(device.stream());
}

}  // namespace templar
