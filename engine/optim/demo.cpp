#include "engine/optim/demo.h"

#include "base/error.h"

#include <cmath>

namespace templar {

Demo::Demo(Device& device, const Layout& layout, float beta)
    : device_(device),
      layout_(layout),
      beta_(beta),
      momentum_(device, DType::f32, layout.parameters),
      payload_(device, layout.payload_bytes) {
    if (!(beta >= 0 && beta < 1)) fail(ExitCode::input, "DeMo: expected a beta in [0, 1), found {}", beta);
}

void Demo::step(Tensor grads, float eta, float scale, std::span<uint8_t> payload) {
    if (grads.numel() != layout_.parameters)
        fail(ExitCode::internal, "DeMo: expected {} gradients, found {}", layout_.parameters, grads.numel());
    if (std::ssize(payload) != layout_.payload_bytes)
        fail(ExitCode::internal, "DeMo: expected room for a payload of {} bytes, found {}",
             layout_.payload_bytes, payload.size());
    // One NaN would stay in the momentum for ever, so nothing is touched before everything is known to be
    // finite.
    if (!std::isfinite(eta * scale))
        fail(ExitCode::input, "DeMo: expected a finite rate, found {} times {}", eta, scale);
    const double squares = device_.ops().sum_of_squares(device_.stream(), grads);
    if (!std::isfinite(squares))
        fail(ExitCode::input, "DeMo: the gradient is not finite (sum of squares {}); skip this step",
             squares);

    const std::span<uint8_t> packed(static_cast<uint8_t*>(payload_.data()), payload.size());
    for (const TensorLayout& tensor : layout_.tensors) {
        const ChunkGrid& grid = tensor.grid;
        device_.ops().demo_compress(device_.stream(), sparse_out(tensor, packed),
                                    momentum_.tensor().view(tensor.offset, {grid.chunks(), grid.chunk_size()}),
                                    grads.view(tensor.offset, {grid.rows, grid.cols}), grid, {beta_, eta * scale});
    }
    device_.download(device_.stream(), payload.data(), packed.data(), layout_.payload_bytes);
    device_.wait(device_.stream());
}

}  // namespace templar
