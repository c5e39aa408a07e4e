#include "eval/model_weights.h"

namespace templar {

namespace {

bool in_place(Device& device) {
    return device.shares_host_memory() && device.compute_type() == DType::f32;
}

}  // namespace

ModelWeights::ModelWeights(Device& device, std::span<const float> params) {
    if (in_place(device)) {
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

ModelWeights::ModelWeights(Device& device, std::vector<float>&& params)
    : ModelWeights(device, std::span<const float>(params)) {
    if (!in_place(device)) {
        params = std::vector<float>();  // = {} would keep its memory
        return;
    }
    owned_ = std::move(params);
    constexpr int64_t kept_free = int64_t{1} << 30;  // for what the program needs beside
    if (device.free_bytes() < in_place_.bytes() + kept_free) return;
    array_ = DeviceArray(device, owned_);
    owned_ = std::vector<float>();
}

}  // namespace templar
