// The GPU as a Device where the GPU is a fake (fake_cuda.h): what is refused and said, what is freed, what a
// failure does.
#include "kernels/cuda/gpu.h"

#include "base/error.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/versions.h"
#include "tests/cuda/fake_cuda.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

using namespace templar;
using namespace templar::test;

namespace templar::cuda {

// These tests call no kernel.
const Ops& ops() {
    static const Ops table = [] {
        Ops only{};
        only.matmul = matmul;
        return only;
    }();
    return table;
}
std::vector<OpsVersion> ops_versions() {
    return {};
}

}  // namespace templar::cuda

namespace {

constexpr int64_t mib = 1 << 20;

std::string said(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::device);
        const std::string text = error.what();
        CHECK(text.find('\n') == text.npos);
        return text;
    }
    return "";
}
void open(int index = 0) {
    cuda::open_gpu(index, DType::bf16, "");
}

void check_nothing_left() {
    CHECK(fake.memories == 0);
    CHECK(fake.handles == 0);
}

}  // namespace

TEST_CASE("a machine that has no GPU for this program is refused in one line that says why") {
    fake = {};
    fake.driver = 0;
    CHECK(said([] { open(); }) ==
          "no NVIDIA driver is running on this machine: install one, or use --device cpu");
    fake.driver = 12040;
    CHECK(said([] {
              open();
          }).starts_with("the NVIDIA driver is too old: it supports CUDA 12.4, this program needs 13.0"));
    fake.driver = 13010;
    fake.start = cudaErrorECCUncorrectable;
    CHECK(said([] { open(); }).find("shows no GPU: uncorrectable ECC error encountered") !=
          std::string::npos);
    fake.start = cudaSuccess;
    CHECK(said([] { open(2); }).starts_with("there is no GPU 2: this machine shows 2"));
    fake.image = cudaErrorNoKernelImageForDevice;
    fake.major = 7, fake.minor = 5;
    CHECK(said([] {
              open(1);
          }).starts_with("GPU 1 (Fake) has compute capability 7.5; 8.0 (A100) or newer is needed"));
    check_nothing_left();
}

TEST_CASE("memory that is not there is refused with the figures, and the device works on") {
    fake = {};
    {
        const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::bf16, "");
        Device& device = *opened;
        CHECK(device.description() == "Fake, 0.2 GiB, bf16");
        CHECK(device.free_bytes() == (256 - 64 - 32) * mib);  // scratch, and cuBLASLt's workspace
        CHECK(said([&] { device.allocate(200 * mib); }) ==
              "not enough GPU memory: 200.0 MiB asked for, 160.0 of 256.0 MiB free; use a smaller batch or "
              "model");
        CHECK(fake.unread_errors == 0);
        auto* memory = static_cast<unsigned char*>(device.allocate(1000));
        CHECK(std::vector<unsigned char>(memory, memory + 1000) == std::vector<unsigned char>(1000));
        device.release(memory);
    }
    check_nothing_left();
    fake.memory = 80 * mib;  // the scratch fits, the workspace does not
    CHECK(said([] { open(); }) != "");
    check_nothing_left();
}

TEST_CASE("after a failure on the GPU every call says the same, and nothing else happens") {
    for (const cudaError_t error : {cudaErrorIllegalAddress, cudaErrorECCUncorrectable}) {
        fake = {};
        {
            const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::f32, "");
            Device& device = *opened;
            Stream& stream = device.stream();
            const auto event = device.make_event();
            void* memory = device.allocate(64);
            float host[16];
            fake.broken = error;
            const std::string words =
                fmt::format("{} ({})", cudaGetErrorString(error), cudaGetErrorName(error));
            const Tensor a(static_cast<float*>(memory), {4, 4});
            for (const std::function<void()>& call : std::vector<std::function<void()>>{
                     [&] { device.wait(stream); }, [&] { device.upload(stream, memory, host, 64); },
                     [&] { device.download(stream, host, memory, 64); },
                     [&] { device.fill_zero(stream, memory, 64); }, [&] { (void)device.allocate(64); },
                     [&] { event->record(stream); }, [&] { event->wait(); },
                     [&] { device.ops().matmul(stream, a, a, false, a, false, false); }})
                CHECK(said(call).find(words) != std::string::npos);
            device.release(memory);
        }
        check_nothing_left();
    }
}

TEST_CASE("copies of pinned memory do not wait, others do") {
    fake = {};
    const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::f32, "");
    Device& device = *opened;
    Stream& stream = device.stream();
    void* const pinned = device.allocate_pinned(64);
    void* const memory = device.allocate(64);
    std::vector<char> host(64, 7);
    const auto waits_of = [](const std::function<void()>& call) {
        const int before = fake.waits;
        call();
        return fake.waits - before;
    };
    CHECK(waits_of([&] { device.upload(stream, memory, host.data(), 64); }) == 1);
    CHECK(waits_of([&] { device.download(stream, pinned, memory, 64); }) == 0);
    CHECK(waits_of([&] { device.upload(stream, memory, pinned, 64); }) == 0);
    CHECK(waits_of([&] { device.download(stream, host.data(), memory, 64); }) == 1);
    CHECK(waits_of([&] { device.upload(stream, memory, host.data(), 0); }) == 0);
    CHECK(host == std::vector<char>(64, 7));
    device.release(memory);
    device.release_pinned(pinned);
}
