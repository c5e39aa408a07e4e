// Communicator for GPUs of one machine.
#pragma once

#include "kernels/communicator.h"

namespace templar::cuda {

// devices: CudaDevices, one for each rank. Throws Error(device).
std::vector<std::unique_ptr<Communicator>> nccl_communicators(std::span<Device* const> devices);

}  // namespace templar::cuda
