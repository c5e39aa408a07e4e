// Engine tests on the CPU: its memory is the host's, so that vectors can be passed as tensors and arrays looked into.
#pragma once

#include "kernels/device.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace templar::test {

// One device for each number of threads and instruction set, kept to the end of the program.
inline Device& cpu(int threads = 1, const char* isa = "auto") {
    static std::map<std::pair<int, std::string>, std::unique_ptr<Device>> devices;
    auto& device = devices[{threads, isa}];
    if (!device) device = cpu_device(threads, isa);
    return *device;
}

// All of a vector as a flat tensor.
inline Tensor flat(const std::vector<float>& values) { return Tensor(values.data(), {std::ssize(values)}); }

// An array in the CPU's memory, or a flat fp32 tensor there.
inline std::span<const float> values(const Tensor& tensor) {
    return {tensor.f32(), static_cast<size_t>(tensor.numel())};
}
inline std::span<const float> values(const DeviceArray& array) { return values(array.tensor()); }

}  // namespace templar::test
