#include "kernels/cuda/plugin.h"

#include "kernels/cuda/gpu.h"
#include "kernels/cuda/nccl.h"

namespace templar {

namespace {

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
                                   .open = cuda::open_gpu,
                                   .found = found,
                                   .communicators = cuda::nccl_communicators};
    return plugin;
}

}  // namespace templar
