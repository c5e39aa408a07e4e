#include "engine/optim/demo.h"

#include "base/error.h"

#include <cmath>

namespace templar {

Demo::Demo(const Ops& ops, Stream stream, const Layout& layout, float beta)
    : ops_(ops),
      stream_(stream),
      layout_(layout),
      beta_(beta),
      momentum_(static_cast<size_t>(layout.parameters)) {
    if (!(beta >= 0 && beta < 1)) fail(ExitCode::input, "DeMo: expected a beta in [0, 1), found {}", beta);
}

void Demo::step(std::span<const float> grads, float eta, float scale, std::span<uint8_t> payload) {
    if (std::ssize(grads) != layout_.parameters || std::ssize(momentum_) != layout_.parameters)
        fail(ExitCode::internal, "DeMo: expected {} gradients and momenta, found {} and {}",
             layout_.parameters, grads.size(), momentum_.size());
    if (std::ssize(payload) != layout_.payload_bytes)
        fail(ExitCode::internal, "DeMo: expected room for a payload of {} bytes, found {}",
             layout_.payload_bytes, payload.size());
    // One NaN would stay in the momentum for ever, so nothing is touched before everything is known to be
    // finite.
    if (!std::isfinite(eta * scale))
        fail(ExitCode::input, "DeMo: expected a finite rate, found {} times {}", eta, scale);
    const double squares = ops_.sum_of_squares(stream_, Tensor(grads.data(), {layout_.parameters}));
    if (!std::isfinite(squares))
        fail(ExitCode::input, "DeMo: the gradient is not finite (sum of squares {}); skip this step",
             squares);

    for (const TensorLayout& tensor : layout_.tensors) {
        const ChunkGrid& grid = tensor.grid;
        ops_.demo_compress(stream_, sparse_out(tensor, payload),
                           Tensor(momentum_.data() + tensor.offset, {grid.chunks(), grid.chunk_size()}),
                           Tensor(grads.data() + tensor.offset, {grid.rows, grid.cols}), grid,
                           {beta_, eta * scale});
    }
}

}  // namespace templar
