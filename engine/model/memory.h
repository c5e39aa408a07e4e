// Whether a plan fits into a device, asked before it is allocated.
#pragma once

#include "kernels/device.h"

#include <cstdint>
#include <functional>

namespace templar {

// Throws Error(storage), on a GPU Error(device), naming the largest batch that fits when `bytes` are more than the device has
// left. `bytes_for(batch)` grows with the batch.
void require_memory(const Device& device, int64_t bytes, int64_t batch, const std::function<int64_t(int64_t)>& bytes_for);

}  // namespace templar
