// What is said when a GPU cannot be used, as one line each. Apart from CUDA, so that a machine without a GPU
// can test it.
#pragma once

#include "base/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace templar::cuda {

// Versions as CUDA counts them: 1000·major + 10·minor.
inline std::string version_text(int version) {
    return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// The driver shows no GPU. driver: the newest CUDA that it supports, 0 where there is none; needed: the
// runtime's; words: CUDA's own, for what neither explains.
inline std::string no_gpu_text(int driver, int needed, std::string_view words) {
    if (driver == 0) return "no NVIDIA driver is running on this machine: install one, or use --device cpu";
    if (driver / 1000 < needed / 1000)
        return fmt::format(
            "the NVIDIA driver is too old: it supports CUDA {}, this program needs {} or newer; update the driver, "
            "or use --device cpu",
            version_text(driver), version_text(needed));
    return fmt::format("the NVIDIA driver (CUDA {}) shows no GPU: {}; see nvidia-smi, or use --device cpu",
                       version_text(driver), words);
}

inline std::string no_such_gpu_text(int index, int count) {
    return fmt::format(
        "there is no GPU {}: this machine shows {}, numbered from 0 (CUDA_VISIBLE_DEVICES can hide some)",
        index, count);
}

// This build has no code for the GPU.
inline std::string unsupported_gpu_text(int index, std::string_view name, int major, int minor) {
    if (major < 8)
        return fmt::format(
            "GPU {} ({}) has compute capability {}.{}; 8.0 (A100) or newer is needed, or --device cpu", index,
            name, major, minor);
    return fmt::format(
        "this program has no code for GPU {} ({}, compute capability {}.{}): build it with "
        "-DCMAKE_CUDA_ARCHITECTURES={}{}, or use --device cpu",
        index, name, major, minor, major, minor);
}

inline std::string out_of_memory_text(int64_t wanted, int64_t free, int64_t total) {
    const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    return fmt::format(
        "not enough GPU memory: {:.1f} MiB asked for, {:.1f} of {:.1f} MiB free; use a smaller batch or "
        "model",
        mib(wanted), mib(free), mib(total));
}

}  // namespace templar::cuda
