#include "eval/model_weights.h"

#include <cstdint>
#include <cstring>

namespace templar {

namespace {

constexpr size_t cache_line = 64;

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
    const size_t count = owned_.size();
    const size_t shift = -reinterpret_cast<std::uintptr_t>(owned_.data()) % cache_line / sizeof(float);
    if (shift == 0 || owned_.capacity() < count + shift) return;
    owned_.resize(count + shift);
    std::memmove(owned_.data() + shift, owned_.data(), count * sizeof(float));
    in_place_ = Tensor(owned_.data() + shift, {static_cast<int64_t>(count)});
}

}  // namespace templar
