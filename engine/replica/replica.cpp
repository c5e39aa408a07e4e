#include "engine/replica/replica.h"

#include "base/error.h"

#include <cmath>

namespace templar {

namespace {

constexpr size_t max_payloads = 256;  // what the exact sums of merge_apply have room for

Tensor view(const TensorLayout& tensor, float* values) {
    return {values, {tensor.grid.rows, tensor.grid.cols}};
}
Tensor view(const TensorLayout& tensor, const float* values) {
    return {values, {tensor.grid.rows, tensor.grid.cols}};
}

void check_length(const Layout& layout, std::span<const uint8_t> payload) {
    if (std::ssize(payload) != layout.payload_bytes)
        fail(ExitCode::input, "payload: expected {} bytes as the layout says, found {}", layout.payload_bytes,
             payload.size());
}

}  // namespace

Replica::Replica(const Ops& ops, Stream stream, Layout layout, std::vector<float> theta)
    : ops_(ops),
      stream_(stream),
      layout_(std::move(layout)),
      theta_(std::move(theta)),
      tree_(state_tree(layout_, theta_, stream_.threads)) {}

void Replica::apply(const OuterStep& step, std::span<const std::span<const uint8_t>> payloads) {
    if (payloads.empty()) return;
    // Everything is refused before the first weight moves.
    if (payloads.size() > max_payloads)
        fail(ExitCode::input, "record: expected at most {} accepted payloads, found {}", max_payloads,
             payloads.size());
    if (!std::isfinite(step.eta) || !std::isfinite(step.keep))
        fail(ExitCode::input, "record: expected finite eta and weight decay, found {} and {}", step.eta,
             step.keep);
    for (const auto& payload : payloads) check_length(layout_, payload);

    std::vector<SparseIn> peers(payloads.size());
    std::vector<double> inverse_norms(payloads.size());
    for (const TensorLayout& tensor : layout_.tensors) {
        for (size_t p = 0; p < payloads.size(); ++p) {
            peers[p] = sparse_in(tensor, payloads[p]);
            const double square = ops_.sparse_square_sum(stream_, peers[p], tensor.grid);
            inverse_norms[p] = square == 0 ? 0 : 1 / std::sqrt(square);
        }
        ops_.merge_apply(stream_, view(tensor, theta_.data() + tensor.offset), tensor.grid, peers,
                         inverse_norms, step.keep, step.eta);
    }
    tree_ = state_tree(layout_, theta_, stream_.threads);
}

void Replica::candidate(std::span<float> out, std::span<const uint8_t> payload, float step) const {
    if (std::ssize(out) != layout_.parameters)
        fail(ExitCode::internal, "candidate: expected room for {} values, found {}", layout_.parameters,
             out.size());
    check_length(layout_, payload);
    for (const TensorLayout& tensor : layout_.tensors)
        ops_.apply_candidate(stream_, view(tensor, out.data() + tensor.offset),
                             view(tensor, theta_.data() + tensor.offset), tensor.grid,
                             sparse_in(tensor, payload), step);
}

}  // namespace templar
