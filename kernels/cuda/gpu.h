// GPUs as devices, said without CUDA's headers.
#pragma once

#include "kernels/device.h"

#include <memory>
#include <string>

namespace templar::cuda {

// How many GPUs the driver shows. Throws Error(device): no driver, one too old for this program, or none that
// works.
int gpu_count();
// Throws Error(device) when there is no GPU `index` or this build has no code for it.
void check_gpu(int index);
// As cuda_device() of kernels/device.h.
std::unique_ptr<Device> open_gpu(int index, DType compute_type, const std::string& matmul_plans);

}  // namespace templar::cuda
