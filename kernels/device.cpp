#include "kernels/device.h"

#include "base/error.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

namespace templar {

namespace {

constexpr size_t alignment = 256;

// Bytes the system could hand out now without swapping (Linux: MemAvailable); INT64_MAX where it does not say.
int64_t available_memory() {
    std::ifstream info("/proc/meminfo");
    std::string field, unit;
    int64_t kib = 0;
    while (info >> field >> kib >> unit)
        if (field == "MemAvailable:") return kib * 1024;
    return std::numeric_limits<int64_t>::max();
}

void* aligned_zeros(int64_t bytes) {
    const size_t padded = (static_cast<size_t>(bytes > 0 ? bytes : 1) + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, padded);
    if (!memory)
        fail(ExitCode::storage, "not enough memory: {:.1f} MiB asked for; use a smaller batch or model",
             static_cast<double>(bytes) / (1 << 20));
    return std::memset(memory, 0, padded);
}

// Operations end before they return, and host memory is the device's memory.
class CpuDevice final : public Device {
  public:
    CpuDevice(int threads, const char* isa) : Device(cpu_ops(isa), DType::f32, Stream{usable_threads(threads)}) {}

    std::string description() const override { return fmt::format("{}, {} threads", ops_->name, stream_.threads); }
    void* allocate(int64_t bytes) override { return aligned_zeros(bytes); }
    void release(void* memory) noexcept override { std::free(memory); }
    int64_t free_bytes() const override { return available_memory(); }
    bool shares_host_memory() const override { return true; }
    void* allocate_pinned(int64_t bytes) override { return aligned_zeros(bytes); }
    void release_pinned(void* memory) noexcept override { std::free(memory); }
    void upload(Stream&, void* to, const void* from, int64_t bytes) override { move(to, from, bytes); }
    void download(Stream&, void* to, const void* from, int64_t bytes) override { move(to, from, bytes); }
    void copy(Stream&, void* to, const void* from, int64_t bytes) override { move(to, from, bytes); }
    void fill_zero(Stream&, void* memory, int64_t bytes) override {
        std::memset(memory, 0, static_cast<size_t>(bytes));
    }
    void wait(Stream&) override {}
    std::unique_ptr<Event> make_event() override { return std::make_unique<CpuEvent>(); }

  private:
    class CpuEvent final : public Event {
      public:
        void record(Stream&) override { at_ = std::chrono::steady_clock::now(); }
        void wait() override {}
        double seconds_since(const Event& earlier) const override {
            return std::chrono::duration<double>(at_ - static_cast<const CpuEvent&>(earlier).at_).count();
        }

      private:
        std::chrono::steady_clock::time_point at_;
    };

    static void move(void* to, const void* from, int64_t bytes) {
        if (to != from && bytes > 0) std::memmove(to, from, static_cast<size_t>(bytes));
    }
};

DType compute_type(const std::string& name, DType automatic) {
    if (name == "auto") return automatic;
    if (name == "f32") return DType::f32;
    if (name == "bf16") return DType::bf16;
    fail(ExitCode::usage, "--dtype {}: expected auto, f32 or bf16", name);
}

// Of "cuda", "cuda:2" or "cuda:0,1,2".
std::vector<int> gpu_indices(const std::string& name) {
    const auto refuse = [&] {
        fail(ExitCode::usage,
             "--device {}: expected auto, cpu, cuda, cuda:INDEX or cuda:INDEX,INDEX,…, each INDEX once", name);
    };
    if (name == "cuda") return {0};
    if (!name.starts_with("cuda:")) refuse();
    std::vector<int> indices;
    for (const char *at = name.data() + 5, *end = name.data() + name.size();; ++at) {
        int index = -1;
        const auto [after, error] = std::from_chars(at, end, index);
        if (error != std::errc() || index < 0 || std::ranges::find(indices, index) != indices.end()) refuse();
        indices.push_back(index);
        at = after;
        if (at == end) return indices;
        if (*at != ',') refuse();
    }
}

}  // namespace

std::unique_ptr<Device> cpu_device(int threads, const char* isa) {
    return std::make_unique<CpuDevice>(threads, isa);
}

std::vector<std::unique_ptr<Device>> open_devices(const DeviceChoice& choice) {
    const std::string name =
        choice.name == "auto" ? (choice.dtype == "bf16" || cuda_found() ? "cuda" : "cpu") : choice.name;
    std::vector<std::unique_ptr<Device>> devices;
    if (name == "cpu") {
        if (compute_type(choice.dtype, DType::f32) != DType::f32)
            fail(ExitCode::usage, "--dtype {}: the CPU computes in f32 only", choice.dtype);
        devices.push_back(cpu_device(choice.threads));
        return devices;
    }
    const DType type = compute_type(choice.dtype, DType::bf16);
    const std::vector<int> indices = gpu_indices(name);
    for (int index : indices) {
        const bool several = indices.size() > 1 && !choice.matmul_plans.empty();
        devices.push_back(
            cuda_device(index, type, several ? fmt::format("{}.{}", choice.matmul_plans, index) : choice.matmul_plans));
    }
    return devices;
}

std::unique_ptr<Device> open_device(const DeviceChoice& choice) {
    if (choice.name.starts_with("cuda:") && gpu_indices(choice.name).size() > 1)
        fail(ExitCode::usage, "--device {}: this computes on one device; name one", choice.name);
    return std::move(open_devices(choice).front());
}

namespace {

void check_length(const DeviceArray& array, size_t length) {
    if (array.dtype() != DType::f32 || array.size() != static_cast<int64_t>(length))
        fail(ExitCode::internal, "array of {} {} values, expected {} of f32", array.size(), name_of(array.dtype()),
             length);
}

}  // namespace

void DeviceArray::upload(std::span<const float> values) {
    check_length(*this, values.size());
    if (count_ == 0) return;
    Device& device = memory_.device();
    device.upload(device.stream(), memory_.data(), values.data(), tensor().bytes());
    device.wait(device.stream());
}

void DeviceArray::download(std::span<float> values) const {
    check_length(*this, values.size());
    if (count_ == 0) return;
    Device& device = memory_.device();
    device.download(device.stream(), values.data(), memory_.data(), tensor().bytes());
    device.wait(device.stream());
}

std::vector<float> DeviceArray::download() const {
    std::vector<float> values(static_cast<size_t>(count_));
    download(values);
    return values;
}

void DeviceArray::fill_zero() {
    if (count_ == 0) return;
    Device& device = memory_.device();
    device.fill_zero(device.stream(), memory_.data(), tensor().bytes());
}

}  // namespace templar
