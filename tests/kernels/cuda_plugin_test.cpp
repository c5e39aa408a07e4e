// Asking for a GPU where there may be none: one clear line, whatever is missing. With a driver these run into
// a real GPU.
#include "kernels/cuda/gpu_errors.h"

#include "base/error.h"
#include "kernels/device.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

using namespace templar;

TEST_CASE("a GPU that cannot be used is an Error of the device that fits one line") {
    // Thrown inside the plugin where there is one: it must arrive as the type that this program catches.
    ExitCode code = ExitCode::ok;
    std::string text;
    try {
        cuda_device(1000);
    } catch (const Error& error) {
        code = error.code();
        text = error.what();
    }
    CHECK(code == ExitCode::device);
    CAPTURE(text);
    CHECK(text.find('\n') == text.npos);
    CHECK(text.find("--device cpu") + text.find("GPU 1000") != 2 * text.npos);
    const bool built = std::filesystem::exists(std::string(TEMPLAR_BIN_DIR) + "/libtemplar_cuda.so");
    CHECK((text.find("built without CUDA") == text.npos) == built);
}

TEST_CASE("auto is the GPU where one is found, else the CPU") {
    const std::unique_ptr<Device> device = open_device({});
    CHECK(device->shares_host_memory() == !cuda_found());
    MESSAGE(device->description());
}

TEST_CASE("what is said about GPUs that cannot be used") {
    using namespace templar::cuda;
    CHECK(no_gpu_text(0, 13000, "") ==
          "no NVIDIA driver is running on this machine: install one, or use --device cpu");
    CHECK(no_gpu_text(12040, 13000, "") ==
          "the NVIDIA driver is too old: it supports CUDA 12.4, this program needs 13.0 or newer; update the "
          "driver, or use "
          "--device cpu");
    CHECK(no_gpu_text(13000, 13000, "no CUDA-capable device is detected") ==
          "the NVIDIA driver (CUDA 13.0) shows no GPU: no CUDA-capable device is detected; see nvidia-smi, "
          "or use --device cpu");
    CHECK(no_such_gpu_text(2, 2) ==
          "there is no GPU 2: this machine shows 2, numbered from 0 (CUDA_VISIBLE_DEVICES can hide some)");
    CHECK(unsupported_gpu_text(0, "Tesla T4", 7, 5) ==
          "GPU 0 (Tesla T4) has compute capability 7.5; 8.0 (A100) or newer is needed, or --device cpu");
    CHECK(unsupported_gpu_text(0, "B200", 10, 0) ==
          "this program has no code for GPU 0 (B200, compute capability 10.0): build it with "
          "-DCMAKE_CUDA_ARCHITECTURES=100, or "
          "use --device cpu");
    CHECK(out_of_memory_text(int64_t{3} << 30, int64_t{1} << 30, int64_t{80} << 30) ==
          "not enough GPU memory: 3072.0 MiB asked for, 1024.0 of 81920.0 MiB free; use a smaller batch or "
          "model");
}
