// The emulated GPU as a device: its memory is not the host's, and nothing may reach beyond what was asked for.
#include "simt.h"
#include "simt_device.h"

#include "base/error.h"
#include "kernels/cuda/launch.h"
#include "tests/simt/child.h"

#include <doctest/doctest.h>

#include <csignal>
#include <cstring>
#include <numeric>
#include <vector>

using namespace templar;

namespace {

void write_at(int* to, int64_t index) { to[index] = 1; }
void copy_ints(int* to, const int* from) { to[threadIdx.x] = from[threadIdx.x]; }

// Runs write_at on memory of 4 ints in a child process.
test::ChildEnd write_in_child(int64_t index) {
    return test::run_in_child([&] {
        int* const memory = static_cast<int*>(simt::device_allocate(4 * sizeof(int), 0xff));
        simt::launch("write_at", 1, 1, 0, write_at, memory, index);
        simt::device_release(memory);
    });
}

}  // namespace

TEST_CASE("what lies beyond an allocation ends the program") {
    CHECK(write_in_child(3).by_itself);
#if defined(__SANITIZE_ADDRESS__)
    for (int64_t index : {-1, 4}) {
        const test::ChildEnd end = write_in_child(index);
        CHECK_FALSE(end.by_itself);
        CHECK_MESSAGE(end.output.find("heap-buffer-overflow") != std::string::npos, end.output);
        CHECK_MESSAGE(end.output.find("device_memory_test.cpp") != std::string::npos, end.output);
    }
#else
    CHECK(write_in_child(256).signal == SIGSEGV);
#endif
}

#if defined(__SANITIZE_ADDRESS__)
namespace {

struct Four {
    int values[4];
};

void write_shared_at(int* to, int index) {
    Four& shared = cuda::shared_storage<Four>();
    int* volatile values = shared.values;  // hides the array's length
    values[index] = 5;
    to[0] = values[index];
}

}  // namespace

TEST_CASE("what lies beyond shared memory ends the program") {
    const auto write = [](int index) {
        return test::run_in_child([&] {
            int out = 0;
            simt::launch("write_shared_at", 1, 1, sizeof(Four), write_shared_at, &out, index);
        });
    };
    CHECK(write(3).by_itself);
    const test::ChildEnd end = write(4);
    CHECK_FALSE(end.by_itself);
    CHECK_MESSAGE(end.output.find("heap-buffer-overflow") != std::string::npos, end.output);
}
#endif

TEST_CASE("host code that touches device memory is stopped") {
    int* const memory = static_cast<int*>(simt::device_allocate(40, 0));
    const test::ChildEnd end = test::run_in_child([&] { *static_cast<volatile int*>(memory) = 1; });
    CHECK_FALSE(end.by_itself);
#if defined(__SANITIZE_ADDRESS__)
    CHECK_MESSAGE(end.output.find("use-after-poison") != std::string::npos, end.output);
#else
    CHECK(end.signal == SIGSEGV);
#endif
    {
        const simt::DeviceAccess access;
        *static_cast<volatile int*>(memory) = 1;
    }
    simt::device_release(memory);
}

TEST_CASE("a kernel's pointers lie in device memory") {
    int* const memory = static_cast<int*>(simt::device_allocate(16, 0));
    int host[4] = {};
    simt::launch("copy_ints", 1, 4, 0, copy_ints, memory, memory);
    try {
        simt::launch("copy_ints", 1, 4, 0, copy_ints, memory, host);
        FAIL("no error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::device);
        CHECK(std::string(error.what()) == "kernel 'copy_ints': argument 1 does not point into device memory");
    }
    simt::device_release(memory);
}

TEST_CASE("a copy between the wrong sides is refused") {
    int* const memory = static_cast<int*>(simt::device_allocate(16, 0));
    int host[4] = {};
    CHECK(cudaMemcpyAsync(memory, host, 16, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
    CHECK(cudaMemcpyAsync(host, memory, 16, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
    CHECK(cudaMemsetAsync(memory, 0, 16, nullptr) == cudaSuccess);
    CHECK(cudaMemcpyAsync(host, memory, 16, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
    CHECK(cudaMemcpyAsync(memory, host, 16, cudaMemcpyDeviceToDevice, nullptr) == cudaErrorInvalidValue);
    CHECK(cudaMemcpyAsync(host, memory + 1, 16, cudaMemcpyDeviceToHost, nullptr) == cudaErrorInvalidValue);
    CHECK(cudaMemsetAsync(host, 0, 16, nullptr) == cudaErrorInvalidValue);
    simt::device_release(memory);
}

TEST_CASE("the emulated device") {
    const std::unique_ptr<Device> device = simt_device(DType::bf16, 1000);
    CHECK(device->compute_type() == DType::bf16);
    CHECK_FALSE(device->shares_host_memory());
    CHECK(std::string(device->ops().name) == "cuda");
    Stream& stream = device->stream();

    SUBCASE("counts its memory") {
        CHECK(device->free_bytes() == 1000);
        void* first = device->allocate(600);
        CHECK(reinterpret_cast<uintptr_t>(first) % 256 == 0);
        CHECK(device->free_bytes() == 400);
        try {
            device->allocate(401);
            FAIL("no error");
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::device);
        }
        void* second = device->allocate(400);
        device->release(first);
        device->release(second);
        device->release(nullptr);
        CHECK(device->free_bytes() == 1000);
    }
    SUBCASE("hands out zeros, and copies there and back") {
        const DeviceMemory a(*device, 40), b(*device, 40);
        std::vector<int> host(10, 7), values(10);
        std::iota(values.begin(), values.end(), 1);
        device->download(stream, host.data(), a.data(), 40);
        CHECK(host == std::vector<int>(10, 0));
        device->upload(stream, a.data(), values.data(), 40);
        device->copy(stream, b.data(), a.data(), 40);
        device->fill_zero(stream, a.data(), 20);
        device->download(stream, host.data(), b.data(), 40);
        CHECK(host == values);
        device->download(stream, host.data(), a.data(), 40);
        CHECK(host == std::vector<int>{0, 0, 0, 0, 0, 6, 7, 8, 9, 10});
    }
    SUBCASE("refuses the wrong side of a copy, and what does not fit") {
        const DeviceMemory memory(*device, 40);
        std::vector<std::byte> host(41);
        CHECK_THROWS_AS(device->upload(stream, host.data(), memory.data(), 40), Error);
        CHECK_THROWS_AS(device->upload(stream, memory.data(), host.data(), 41), Error);
        CHECK_THROWS_AS(device->upload(stream, memory.data(), memory.data(), 40), Error);
        CHECK_THROWS_AS(device->download(stream, memory.data(), host.data(), 40), Error);
        CHECK_THROWS_AS(device->copy(stream, host.data(), memory.data(), 40), Error);
        CHECK_THROWS_AS(device->fill_zero(stream, host.data(), 40), Error);
    }
    SUBCASE("delivers what goes to pinned memory with the wait") {
        const DeviceMemory memory(*device, 4);
        int* const pinned = static_cast<int*>(device->allocate_pinned(12));
        int value = 3;
        device->upload(stream, memory.data(), &value, 4);
        device->download(stream, pinned, memory.data(), 4);
        const std::unique_ptr<Device::Event> event = device->make_event(), later = device->make_event();
        event->wait();  // nothing recorded
        CHECK(pinned[0] == -1);
        event->record(stream);
        value = 4;
        device->upload(stream, memory.data(), &value, 4);
        device->download(stream, pinned + 1, memory.data(), 4);
        later->record(stream);
        CHECK(pinned[0] == -1);
        event->wait();
        CHECK(pinned[0] == 3);
        CHECK(pinned[1] == -1);
        device->wait(stream);
        CHECK(pinned[1] == 4);
        CHECK(later->seconds_since(*event) >= 0);
        device->release_pinned(pinned);
    }
    SUBCASE("gives scratch memory that is new each time") {
        for (int64_t bytes : {16, 16, 8}) {
            int* const scratch = static_cast<int*>(cuda::scratch(stream, bytes));
            CHECK(simt::is_device_memory(scratch, bytes));
            const simt::DeviceAccess access;
            CHECK(scratch[0] == -1);
            scratch[0] = 5;
        }
        CHECK_THROWS_AS(cuda::scratch(stream, cuda::scratch_bytes + 1), Error);
    }
}
