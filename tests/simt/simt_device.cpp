#include "simt_device.h"

#include "simt_memory.h"

#include "base/error.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/versions.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <new>
#include <vector>

namespace templar {

namespace {

class SimtDevice final : public Device {
  public:
    SimtDevice(DType compute, int64_t memory_bytes)
        : Device(cuda::ops(), compute, Stream{usable_threads(0), nullptr}), memory_bytes_(memory_bytes) {
        cuda_.multiprocessors = 3;  // few and odd: kernels that size their grid by it meet every remainder
        stream_.cuda = &cuda_;
    }
    ~SimtDevice() override {
        simt::device_release(cuda_.scratch);
        for (const auto& [memory, bytes] : pinned_) std::free(memory);
    }

    std::vector<OpsVersion> versions() const override { return cuda::ops_versions(); }
    std::string description() const override { return fmt::format("emulated GPU, {}", name_of(compute_type_)); }

    void* allocate(int64_t bytes) override {
        if (bytes > free_bytes())
            fail(ExitCode::device,
                 "not enough GPU memory: {:.1f} MiB asked for, {:.1f} MiB free; use a smaller batch or model",
                 static_cast<double>(bytes) / (1 << 20), static_cast<double>(free_bytes()) / (1 << 20));
        void* memory = simt::device_allocate(bytes, 0);
        sizes_[memory] = bytes;
        used_ += bytes;
        return memory;
    }
    void release(void* memory) noexcept override {
        if (!memory) return;
        used_ -= sizes_.at(memory);
        sizes_.erase(memory);
        simt::device_release(memory);
    }
    int64_t free_bytes() const override { return memory_bytes_ - used_; }
    bool shares_host_memory() const override { return false; }

    void* allocate_pinned(int64_t bytes) override {
        void* memory = nullptr;
        if (posix_memalign(&memory, 256, static_cast<size_t>(bytes)) != 0) throw std::bad_alloc();
        pinned_[memory] = bytes;
        return std::memset(memory, 0xff, static_cast<size_t>(bytes));
    }
    void release_pinned(void* memory) noexcept override {
        deliver(enqueued());
        pinned_.erase(memory);
        std::free(memory);
    }

    void upload(Stream&, void* to, const void* from, int64_t bytes) override {
        check_sides("upload", to, from, bytes);
        move(to, from, bytes);
    }
    void download(Stream&, void* to, const void* from, int64_t bytes) override {
        check_sides("download", from, to, bytes);
        if (!is_pinned(to)) return move(to, from, bytes);
        Download late{.to = to, .bytes = std::vector<std::byte>(static_cast<size_t>(bytes))};
        move(late.bytes.data(), from, bytes);
        std::memset(to, 0xff, static_cast<size_t>(bytes));
        downloads_.push_back(std::move(late));
    }
    void copy(Stream&, void* to, const void* from, int64_t bytes) override {
        if (bytes > 0 && (!simt::is_device_memory(to, bytes) || !simt::is_device_memory(from, bytes)))
            fail(ExitCode::internal, "copy of {} bytes: not within device memory", bytes);
        move(to, from, bytes);
    }
    void fill_zero(Stream&, void* memory, int64_t bytes) override {
        if (bytes > 0 && !simt::is_device_memory(memory, bytes))
            fail(ExitCode::internal, "fill_zero of {} bytes: not within device memory", bytes);
        const simt::DeviceAccess access;
        if (bytes > 0) std::memset(memory, 0, static_cast<size_t>(bytes));
    }
    void wait(Stream&) override { deliver(enqueued()); }

    std::unique_ptr<Event> make_event() override { return std::make_unique<SimtEvent>(*this); }

  private:
    // A copy to pinned memory that nobody has waited for.
    struct Download {
        void* to;
        std::vector<std::byte> bytes;
    };

    class SimtEvent final : public Event {
      public:
        explicit SimtEvent(SimtDevice& device) : device_(device) {}
        void record(Stream&) override {
            at_ = std::chrono::steady_clock::now();
            mark_ = device_.enqueued();
        }
        void wait() override { device_.deliver(mark_); }
        double seconds_since(const Event& earlier) const override {
            return std::chrono::duration<double>(at_ - static_cast<const SimtEvent&>(earlier).at_).count();
        }

      private:
        SimtDevice& device_;
        std::chrono::steady_clock::time_point at_;
        int64_t mark_ = 0;
    };

    int64_t enqueued() const { return delivered_ + std::ssize(downloads_); }
    void deliver(int64_t until) {
        for (; delivered_ < until; ++delivered_) {
            const Download& late = downloads_.front();
            std::memcpy(late.to, late.bytes.data(), late.bytes.size());
            downloads_.pop_front();
        }
    }

    bool is_pinned(const void* address) const {
        const auto next = pinned_.upper_bound(const_cast<void*>(address));
        if (next == pinned_.begin()) return false;
        const auto& [start, bytes] = *std::prev(next);
        return static_cast<const std::byte*>(address) < static_cast<const std::byte*>(start) + bytes;
    }

    static void check_sides(const char* doing, const void* device, const void* host, int64_t bytes) {
        if (bytes <= 0) return;
        if (!simt::is_device_memory(device, bytes))
            fail(ExitCode::internal, "{} of {} bytes: the device's side is not within device memory", doing, bytes);
        if (simt::is_device_memory(host, 1))
            fail(ExitCode::internal, "{} of {} bytes: the host's side is device memory", doing, bytes);
    }
    static void move(void* to, const void* from, int64_t bytes) {
        const simt::DeviceAccess access;
        if (bytes > 0) std::memmove(to, from, static_cast<size_t>(bytes));
    }

    CudaStream cuda_;
    int64_t memory_bytes_;
    int64_t used_ = 0;
    std::map<void*, int64_t> sizes_;
    std::map<void*, int64_t> pinned_;
    std::deque<Download> downloads_;  // those after the first `delivered_`
    int64_t delivered_ = 0;
};

}  // namespace

std::unique_ptr<Device> simt_device(DType compute, int64_t memory_bytes) {
    return std::make_unique<SimtDevice>(compute, memory_bytes);
}

namespace cuda {

// New memory each time, of just this size and full of NaN: an operation that counts on what another left is found.
void* scratch(Stream& stream, int64_t bytes) {
    if (bytes > scratch_bytes)
        fail(ExitCode::internal, "{} bytes of scratch asked for, the stream has {}", bytes, scratch_bytes);
    CudaStream& cuda = *stream.cuda;
    simt::device_release(cuda.scratch);
    cuda.scratch = nullptr;
    cuda.scratch = simt::device_allocate(bytes, 0xff);
    cuda.scratch_bytes = bytes;
    return cuda.scratch;
}

}  // namespace cuda

}  // namespace templar
