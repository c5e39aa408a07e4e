#include "engine/replica/replica.h"

#include "base/error.h"

#include <cmath>

namespace templar {

namespace {

constexpr size_t max_payloads = 256;  // what the exact sums of merge_apply have room for

Tensor view(const TensorLayout& tensor, const Tensor& all) {
    return all.view(tensor.offset, {tensor.grid.rows, tensor.grid.cols});
}

}  // namespace

std::vector<std::span<const uint8_t>> PayloadStage::operator()(std::span<const std::span<const uint8_t>> payloads) {
    for (const auto& payload : payloads)
        if (std::ssize(payload) != payload_bytes_)
            fail(ExitCode::input, "payload: expected {} bytes as the layout says, found {}", payload_bytes_, payload.size());
    std::vector<std::span<const uint8_t>> staged(payloads.begin(), payloads.end());
    if (device_.shares_host_memory()) return staged;
    const int64_t stride = (payload_bytes_ + 255) / 256 * 256;
    if (memory_.bytes() < stride * std::ssize(payloads)) {
        memory_ = DeviceMemory();  // the old block is freed before the larger one is asked for
        memory_ = DeviceMemory(device_, stride * std::ssize(payloads));
    }
    auto* position = static_cast<uint8_t*>(memory_.data());
    for (auto& payload : staged) {
        device_.upload(device_.stream(), position, payload.data(), payload_bytes_);
        payload = {position, payload.size()};
        position += stride;
    }
    return staged;
}

Replica::Replica(Device& device, Layout layout, std::span<const float> theta)
    : device_(device),
      layout_(std::move(layout)),
      theta_(device, theta),
      stage_(device, layout_.payload_bytes),
      hasher_(device, layout_),
      tree_(hasher_(theta_.tensor())) {
    if (device.compute_type() == DType::f32) return;
    weights_ = DeviceArray(device, device.compute_type(), layout_.parameters);
    device.ops().round_weights(device.stream(), weights_.tensor(), theta_.tensor());
}

void Replica::apply(const OuterStep& step, std::span<const std::span<const uint8_t>> payloads) {
    if (payloads.empty()) return;
    // Everything is refused before the first weight moves.
    if (payloads.size() > max_payloads)
        fail(ExitCode::input, "record: expected at most {} accepted payloads, found {}", max_payloads,
             payloads.size());
    if (!std::isfinite(step.eta) || !std::isfinite(step.keep))
        fail(ExitCode::input, "record: expected finite eta and weight decay, found {} and {}", step.eta,
             step.keep);
    const auto staged = stage_(payloads);
    std::vector<SparseIn> peers(payloads.size());
    for (const TensorLayout& tensor : layout_.tensors) {
        for (size_t p = 0; p < staged.size(); ++p) peers[p] = sparse_in(tensor, staged[p]);
        device_.ops().merge_apply(device_.stream(), view(tensor, theta_.tensor()),
                                  weights_ ? view(tensor, weights_.tensor()) : Tensor(), tensor.grid, peers, step.keep,
                                  step.eta);
    }
    tree_ = hasher_(theta_.tensor());
}

void Replica::candidate(Tensor out, std::span<const uint8_t> payload, float step) {
    if (out.numel() != layout_.parameters || out.dtype != device_.compute_type())
        fail(ExitCode::internal, "candidate: room for {} values in {}, expected {} in {}", out.numel(),
             name_of(out.dtype), layout_.parameters, name_of(device_.compute_type()));
    const auto staged = stage_({&payload, 1});
    for (const TensorLayout& tensor : layout_.tensors)
        device_.ops().apply_candidate(device_.stream(), view(tensor, out), view(tensor, theta_.tensor()), tensor.grid,
                                      sparse_in(tensor, staged[0]), step);
}

Digest Replica::possession_proof(const Digest& hotkey, uint64_t window) const {
    return templar::possession_proof(
        layout_,
        [&](int64_t first, std::span<float> values) {
            const std::lock_guard lock(reading_);
            device_.download(device_.stream(), values.data(), theta_.tensor().view(first, {}).data,
                             static_cast<int64_t>(values.size_bytes()));
            device_.wait(device_.stream());
        },
        root(), hotkey, window);
}

}  // namespace templar
