#include "kernels/cuda/plugin.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/nccl.h"

namespace templar {

namespace {

std::unique_ptr<Device> open(int index, DType compute_type, const std::string& matmul_plans) {
    return std::make_unique<cuda::CudaDevice>(index, compute_type, matmul_plans);
}

bool found() noexcept {
    try {
        cuda::check_gpu(0);
        return true;
    } catch (...) {
        return false;
    }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const CudaPlugin& templar_cuda_plugin() noexcept {
    static const CudaPlugin plugin{.size_of_ops = sizeof(Ops),
                                   .size_of_tensor = sizeof(Tensor),
                                   .open = open,
                                   .found = found,
                                   .communicators = cuda::nccl_communicators};
    return plugin;
}

}  // namespace templar
