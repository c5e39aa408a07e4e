#include "base/error.h"
#include "kernels/cuda/plugin.h"

#include <dlfcn.h>

#include <filesystem>

namespace templar {

namespace {

std::filesystem::path plugin_path() {
    std::error_code error;  // without /proc: nowhere
    return std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / cuda_plugin_file;
}

// Throws Error(device). Once loaded it stays: objects of its types may outlive every use here.
const CudaPlugin& cuda_plugin() {
    static const CudaPlugin& plugin = []() -> const CudaPlugin& {
        const std::filesystem::path path = plugin_path();
        if (!std::filesystem::exists(path))
            fail(ExitCode::device,
                 "this program was built without CUDA (there is no {}): build it where the CUDA Toolkit is, or use "
                 "--device cpu",
                 path.string());
        void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library)
            fail(ExitCode::device,
                 "the CUDA part of this program cannot be loaded: {}; install the CUDA Toolkit's libraries, or use "
                 "--device cpu",
                 dlerror());
        const auto entry = reinterpret_cast<CudaPluginEntry>(dlsym(library, cuda_plugin_entry));
        if (!entry || entry().size_of_ops != sizeof(Ops) || entry().size_of_tensor != sizeof(Tensor))
            fail(ExitCode::device, "{} is not of the same build as this program: build both again",
                 path.string());
        return entry();
    }();
    return plugin;
}

}  // namespace

bool cuda_found() {
    std::error_code error;
    if (!std::filesystem::exists(plugin_path(), error)) return false;
    // The driver's library: without it there is no GPU to use, and no need to load anything large.
    if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) return false;
    try {
        return cuda_plugin().found();
    } catch (const Error&) {
        return true;  // there is a driver, but the plugin cannot be loaded: opening the GPU will say why
    }
}

std::unique_ptr<Device> cuda_device(int index, DType compute_type, const std::string& matmul_plans) {
    return cuda_plugin().open(index, compute_type, matmul_plans);
}

std::vector<std::unique_ptr<Communicator>> communicators(std::span<Device* const> devices) {
    if (devices.size() > 1 && !devices[0]->shares_host_memory()) return cuda_plugin().communicators(devices);
    return thread_communicators(static_cast<int>(devices.size()));
}

}  // namespace templar
