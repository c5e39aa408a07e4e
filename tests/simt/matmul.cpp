// c (M, N) = op(a)·op(b) (+ c) in place of cuBLASLt: operands widened to fp32, the CPU's product, one rounding to c's
// type.
#include "kernels/bf16.h"
#include "kernels/cuda/ops.h"
#include "tests/simt/simt_memory.h"

#include "base/error.h"

#include <vector>

namespace templar::cuda {

namespace {

// The tensor in fp32, in `copy` where it is bf16.
Tensor widened(Tensor tensor, std::vector<float>& copy) {
    if (tensor.dtype == DType::f32) return tensor;
    const bf16* const from = static_cast<const bf16*>(tensor.data);
    copy.resize(static_cast<size_t>(tensor.numel()));
    for (size_t i = 0; i < copy.size(); ++i) copy[i] = to_float(from[i]);
    tensor.data = copy.data();
    tensor.dtype = DType::f32;
    return tensor;
}

void round(Tensor to, const std::vector<float>& from) {
    bf16* const out = static_cast<bf16*>(to.data);
    for (size_t i = 0; i < from.size(); ++i) out[i] = to_bf16(from[i]);
}

}  // namespace

void matmul(Stream& stream, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b, bool accumulate) {
    if (a.dtype != b.dtype || (c.dtype != a.dtype && c.dtype != DType::f32))
        fail(ExitCode::internal, "matmul: c is {}, a {}, b {}", name_of(c.dtype), name_of(a.dtype), name_of(b.dtype));
    const simt::DeviceAccess access;
    std::vector<float> a_floats, b_floats, c_floats;
    const Tensor product = widened(c, c_floats);
    cpu_ops().matmul(stream, product, widened(a, a_floats), transpose_a, widened(b, b_floats), transpose_b, accumulate);
    if (c.dtype == DType::bf16) round(c, c_floats);
}

}  // namespace templar::cuda
