// A place to compute: its memory, its operations, its streams. The engine is written against this and knows no other.
#pragma once

#include "kernels/ops.h"

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace templar {

// Another version of an operation than the table's own: an earlier one that taught something, a later one that waits
// for a GPU's verdict. The bench times each beside the table's, the tests hold each against the CPU.
struct OpsVersion {
    std::string op;     // the slot in ops.h
    std::string name;   // e.g. "v0, logits in memory"
    Ops ops;            // the device's table with this version in the slot
    double limit = -1;  // of its results' error in bf16 (CaseTensor::limit), where it is less exact than the cases ask
};

// Not thread-safe: one thread at a time uses a device, except for what says otherwise.
class Device {
  public:
    virtual ~Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const Ops& ops() const { return *ops_; }
    // Type of activations and of the weights that the model reads: fp32, or bf16 beside fp32 master weights.
    DType compute_type() const { return compute_type_; }
    // The stream that the engine works on; it lives as long as the device.
    Stream& stream() { return stream_; }
    // For people, e.g. "NVIDIA H200, 139.8 GiB, bf16" or "cpu/avx512, 2 threads".
    virtual std::string description() const = 0;
    // By operation, oldest first.
    virtual std::vector<OpsVersion> versions() const { return {}; }

    // Zero-filled memory, aligned to 256 bytes; throws Error(device), on the CPU Error(storage), saying how much there
    // is.
    virtual void* allocate(int64_t bytes) = 0;
    virtual void release(void* memory) noexcept = 0;
    // Bytes that allocate() could hand out now.
    virtual int64_t free_bytes() const = 0;
    // True when host code may read and write the device's memory (the CPU).
    virtual bool shares_host_memory() const = 0;

    // Host memory that the device copies from and to without stalling; release with release_pinned().
    virtual void* allocate_pinned(int64_t bytes) = 0;
    virtual void release_pinned(void* memory) noexcept = 0;

    // Copies between host and device or within either, in order with the stream's operations. upload() and download()
    // of memory from allocate_pinned() return at once; of other memory when the host side may be reused.
    virtual void upload(Stream& stream, void* to, const void* from, int64_t bytes) = 0;
    virtual void download(Stream& stream, void* to, const void* from, int64_t bytes) = 0;
    virtual void copy(Stream& stream, void* to, const void* from, int64_t bytes) = 0;
    virtual void fill_zero(Stream& stream, void* memory, int64_t bytes) = 0;
    // Waits for all of the stream's work. Throws Error(device) when an operation failed on the device: then every later
    // call fails too.
    virtual void wait(Stream& stream) = 0;

    // A mark in the stream's work, for waiting on the host for just what came before it.
    class Event {
      public:
        virtual ~Event() = default;
        virtual void record(Stream& stream) = 0;
        virtual void wait() = 0;  // at once when nothing was recorded; throws as Device::wait
        // Seconds between two recorded and finished events, on the device's clock.
        virtual double seconds_since(const Event& earlier) const = 0;
    };
    virtual std::unique_ptr<Event> make_event() = 0;

  protected:
    Device(const Ops& ops, DType compute_type, Stream stream)
        : ops_(&ops), compute_type_(compute_type), stream_(stream) {}

    const Ops* ops_;
    DType compute_type_;
    Stream stream_;
};

// The CPU with a table of cpu_ops(); threads as usable_threads() takes them.
std::unique_ptr<Device> cpu_device(int threads = 0, const char* isa = "auto");

// GPU `index` with the CUDA table; compute_type fp32 or bf16. Throws Error(device) with one clear line when this build
// has no CUDA, or there is no driver, no such GPU, or one older than sm_80. matmul_plans: a file that keeps, from run
// to run, which algorithm is fastest for each matrix product; with it a run starts faster and adds in the same order as
// the last. Empty: none. It is one thread's at a time; a thread that did not make it calls a function of it other than
// ops() and stream() first.
std::unique_ptr<Device> cuda_device(int index = 0, DType compute_type = DType::bf16,
                                    const std::string& matmul_plans = {});

// Whether this build has CUDA and the driver shows a GPU that it can use. Never throws.
bool cuda_found();

struct DeviceChoice {
    std::string name = "auto";      // auto, cpu, cuda, cuda:INDEX or cuda:INDEX,INDEX,…
    std::string dtype = "auto";     // auto (bf16 on CUDA, fp32 on the CPU), f32 or bf16
    int threads = 0;                // on the CPU; 0: all
    std::string matmul_plans = {};  // file, as cuda_device() takes it; INDEX is appended when there are several
};
// auto: the first GPU where there is one that works, else the CPU. Throws Error(usage) on another name, Error(device).
std::vector<std::unique_ptr<Device>> open_devices(const DeviceChoice& choice);
// For what computes on one device: throws Error(usage) when several are chosen.
std::unique_ptr<Device> open_device(const DeviceChoice& choice);

// Memory of one device, freed with the object.
class DeviceMemory {
  public:
    DeviceMemory() = default;
    DeviceMemory(Device& device, int64_t bytes) : device_(&device), data_(device.allocate(bytes)), bytes_(bytes) {}
    DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
    DeviceMemory& operator=(DeviceMemory&& other) noexcept {
        DeviceMemory(std::move(other)).swap(*this);
        return *this;
    }
    ~DeviceMemory() {
        if (data_) device_->release(data_);
    }
    void* data() const { return data_; }
    int64_t bytes() const { return bytes_; }
    Device& device() const { return *device_; }

  private:
    void swap(DeviceMemory& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
    }
    Device* device_ = nullptr;
    void* data_ = nullptr;
    int64_t bytes_ = 0;
};

// A flat array of numbers on a device: parameters, gradients, momentum.
class DeviceArray {
  public:
    DeviceArray() = default;
    DeviceArray(Device& device, DType type, int64_t count)
        : memory_(device, count * bytes_of(type)), type_(type), count_(count) {}
    // fp32, with these values.
    DeviceArray(Device& device, std::span<const float> values) : DeviceArray(device, DType::f32, std::ssize(values)) {
        upload(values);
    }

    Tensor tensor() const { return Tensor(memory_.data(), type_, {count_}); }
    int64_t size() const { return count_; }
    DType dtype() const { return type_; }
    explicit operator bool() const { return count_ > 0; }

    // fp32 arrays of this length; both wait until the copy is done. Throws Error(internal) when the lengths differ.
    void upload(std::span<const float> values);
    void download(std::span<float> values) const;
    std::vector<float> download() const;
    void fill_zero();

  private:
    DeviceMemory memory_;
    DType type_ = DType::f32;
    int64_t count_ = 0;
};

}  // namespace templar
