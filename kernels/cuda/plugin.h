// What libtemplar_cuda.so offers: all of CUDA is behind it, so that one program runs with and without a GPU,
// starts fast and needs no CUDA library until a GPU is asked for. kernels/cuda_plugin.cpp loads it.
#pragma once

#include "kernels/communicator.h"
#include "kernels/device.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace templar {

// Errors leave these functions as templar::Error: the program catches them by the type's name.
struct CudaPlugin {
    // Told apart from a plugin left over from another build: sizes of what both sides must agree on.
    size_t size_of_ops, size_of_tensor;

    std::unique_ptr<Device> (*open)(int index, DType compute_type, const std::string& matmul_plans);
    bool (*found)() noexcept;
    std::vector<std::unique_ptr<Communicator>> (*communicators)(std::span<Device* const> devices);
};

inline constexpr const char* cuda_plugin_file = "libtemplar_cuda.so";
inline constexpr const char* cuda_plugin_entry = "templar_cuda_plugin";
using CudaPluginEntry = const CudaPlugin& (*)() noexcept;

}  // namespace templar
