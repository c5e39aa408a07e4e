// A GPU as a Device.
#pragma once

#include "kernels/cuda/gpu.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/versions.h"

#include <memory>
#include <string>

namespace templar::cuda {

class CudaDevice final : public Device {
  public:
    // As open_gpu().
    CudaDevice(int index, DType compute_type, const std::string& matmul_plans);
    ~CudaDevice() override;

    int index() const { return index_; }

    std::string description() const override;
    std::vector<OpsVersion> versions() const override { return ops_versions(); }
    void* allocate(int64_t bytes) override;
    void release(void* memory) noexcept override;
    int64_t free_bytes() const override;
    bool shares_host_memory() const override { return false; }
    void* allocate_pinned(int64_t bytes) override;
    void release_pinned(void* memory) noexcept override;
    void upload(Stream& stream, void* to, const void* from, int64_t bytes) override {
        move(stream, to, from, bytes, from);
    }
    void download(Stream& stream, void* to, const void* from, int64_t bytes) override {
        move(stream, to, from, bytes, to);
    }
    void copy(Stream& stream, void* to, const void* from, int64_t bytes) override;
    void fill_zero(Stream& stream, void* memory, int64_t bytes) override;
    void wait(Stream& stream) override;
    std::unique_ptr<Event> make_event() override;

  private:
    void move(Stream& stream, void* to, const void* from, int64_t bytes, const void* host);
    void close() noexcept;

    int index_;
    std::string name_;
    int64_t total_bytes_ = 0;
    CudaStream working_;
    std::unique_ptr<MatmulPlans> matmul_plans_;
    std::unique_ptr<AttentionPath> attention_;
};

// Makes the GPU the calling thread's: CUDA keeps one for each thread, and a kernel starts only on that one's
// streams.
void use_gpu(int index);

}  // namespace templar::cuda
