#include "engine/model/peak.h"

namespace templar {

namespace {

struct Peak {
    std::string_view name;
    double tflops;
};

// Half of what the data sheets print "with sparsity". Names as cudaDeviceProp has them.
constexpr Peak peaks[] = {
    {"NVIDIA H200", 989.4},           {"NVIDIA H200 NVL", 835.5},       {"NVIDIA H100 80GB HBM3", 989.4},  // SXM
    {"NVIDIA H100 NVL", 835.5},       {"NVIDIA H100 PCIe", 756.0},      {"NVIDIA GH200 480GB", 989.4},
    {"NVIDIA A100-SXM4-40GB", 312.0}, {"NVIDIA A100-SXM4-80GB", 312.0}, {"NVIDIA A100-PCIE-40GB", 312.0},
    {"NVIDIA A100 80GB PCIe", 312.0},
};

}  // namespace

std::optional<double> dense_bf16_peak(std::string_view device) {
    const std::string_view name = device.substr(0, device.find(','));
    for (const Peak& peak : peaks)
        if (peak.name == name) return peak.tflops * 1e12;
    return std::nullopt;
}

}  // namespace templar
