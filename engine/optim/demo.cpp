#include "engine/optim/demo.h"

#include "base/error.h"

#include <cmath>
#include <numeric>

namespace templar {

namespace {

std::vector<size_t> all_tensors(const Layout& layout) {
    std::vector<size_t> tensors(layout.tensors.size());
    std::iota(tensors.begin(), tensors.end(), size_t{0});
    return tensors;
}

// End of a tensor's sections in a payload.
int64_t sections_end(const Layout& layout, size_t tensor) {
    return tensor + 1 < layout.tensors.size() ? layout.tensors[tensor + 1].base_exponent : layout.payload_bytes;
}

}  // namespace

Demo::Demo(Device& device, const Layout& layout, float beta) : Demo(device, layout, beta, all_tensors(layout)) {}

Demo::Demo(Device& device, const Layout& layout, float beta, std::vector<size_t> tensors)
    : device_(device), layout_(layout), beta_(beta), payload_(device, layout.payload_bytes) {
    if (!(beta >= 0 && beta < 1)) fail(ExitCode::input, "DeMo: expected a beta in [0, 1), found {}", beta);
    int64_t total = 0;
    for (size_t tensor : tensors) {
        own_.push_back({tensor, total});
        total += layout.tensors.at(tensor).numel();
    }
    momentum_ = DeviceArray(device, DType::f32, total);
}

double Demo::sum_of_squares(Tensor grads) const {
    if (grads.numel() != layout_.parameters)
        fail(ExitCode::internal, "DeMo: expected {} gradients, found {}", layout_.parameters, grads.numel());
    double squares = 0;
    for (size_t i = 0; i < own_.size();) {  // neighbours in one call
        const int64_t first = layout_.tensors[own_[i].tensor].offset;
        int64_t end = first;
        for (; i < own_.size() && layout_.tensors[own_[i].tensor].offset == end; ++i)
            end += layout_.tensors[own_[i].tensor].numel();
        squares += device_.ops().sum_of_squares(device_.stream(), grads.view(first, {end - first}));
    }
    return squares;
}

void Demo::compress(Tensor grads, float eta, std::span<uint8_t> payload) {
    if (grads.numel() != layout_.parameters)
        fail(ExitCode::internal, "DeMo: expected {} gradients, found {}", layout_.parameters, grads.numel());
    if (std::ssize(payload) != layout_.payload_bytes)
        fail(ExitCode::internal, "DeMo: expected room for a payload of {} bytes, found {}",
             layout_.payload_bytes, payload.size());
    if (!std::isfinite(eta)) fail(ExitCode::input, "DeMo: expected a finite rate, found {}", eta);
    const std::span<uint8_t> packed(static_cast<uint8_t*>(payload_.data()), payload.size());
    for (const auto& [index, offset] : own_) {
        const TensorLayout& tensor = layout_.tensors[index];
        const ChunkGrid& grid = tensor.grid;
        device_.ops().demo_compress(device_.stream(), sparse_out(tensor, packed),
                                    momentum_.tensor().view(offset, {grid.chunks(), grid.chunk_size()}),
                                    grads.view(tensor.offset, {grid.rows, grid.cols}), grid, {beta_, eta});
    }
    for (size_t i = 0; i < own_.size();) {  // neighbours in one copy
        const size_t first = own_[i].tensor;
        size_t last = first;
        for (++i; i < own_.size() && own_[i].tensor == last + 1; ++i) ++last;
        const int64_t begin = layout_.tensors[first].base_exponent, end = sections_end(layout_, last);
        device_.download(device_.stream(), payload.data() + begin, packed.data() + begin, end - begin);
    }
    device_.wait(device_.stream());
}

void Demo::step(Tensor grads, float eta, float scale, std::span<uint8_t> payload) {
    // One NaN would stay in the momentum for ever, so nothing is touched before everything is known to be
    // finite.
    const double squares = sum_of_squares(grads);
    if (!std::isfinite(squares))
        fail(ExitCode::input, "DeMo: the gradient is not finite (sum of squares {}); skip this step", squares);
    compress(grads, eta * scale, payload);
}

void Demo::save_momentum(std::span<float> all) const {
    for (const auto& [index, offset] : own_) {
        const TensorLayout& tensor = layout_.tensors[index];
        device_.download(device_.stream(), all.data() + tensor.offset, momentum_.tensor().view(offset, {}).data,
                         tensor.numel() * bytes_of(DType::f32));
    }
    device_.wait(device_.stream());
}

void Demo::load_momentum(std::span<const float> all) {
    for (const auto& [index, offset] : own_) {
        const TensorLayout& tensor = layout_.tensors[index];
        device_.upload(device_.stream(), momentum_.tensor().view(offset, {}).data, all.data() + tensor.offset,
                       tensor.numel() * bytes_of(DType::f32));
    }
    device_.wait(device_.stream());
}

}  // namespace templar
