#include "kernels/cuda/device.h"

#include "kernels/cuda/attention_path.h"
#include "kernels/cuda/gpu_errors.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/ops.h"

#include <algorithm>
#include <cstring>

namespace templar::cuda {

namespace {

// Asked whether this build has code for a GPU.
__global__ void probe() {}

class CudaEvent final : public Device::Event {
  public:
    explicit CudaEvent(int gpu) : gpu_(gpu) {
        use_gpu(gpu_);
        check(cudaEventCreateWithFlags(&event_, cudaEventBlockingSync), "making an event");
    }
    ~CudaEvent() override { cudaEventDestroy(event_); }
    CudaEvent(const CudaEvent&) = delete;
    CudaEvent& operator=(const CudaEvent&) = delete;

    void record(Stream& stream) override {
        use_gpu(gpu_);
        check(cudaEventRecord(event_, stream.cuda->handle), "recording an event");
    }
    void wait() override { check(cudaEventSynchronize(event_), "work before an event"); }
    double seconds_since(const Event& earlier) const override {
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, static_cast<const CudaEvent&>(earlier).event_, event_),
              "timing by events");
        return milliseconds * 1e-3;
    }

  private:
    int gpu_;
    cudaEvent_t event_ = nullptr;
};

}  // namespace

void use_gpu(int index) {
    check(cudaSetDevice(index), "choosing a GPU");
}

int gpu_count() {
    int count = 0, driver = 0;  // cudaGetDeviceCount leaves the count alone when it fails
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) return count;
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    fail(ExitCode::device, "{}",
         no_gpu_text(driver, CUDART_VERSION, cudaGetErrorString(status ? status : cudaErrorNoDevice)));
}

void check_gpu(int index) {
    const int count = gpu_count();
    if (index < 0 || index >= count) fail(ExitCode::device, "{}", no_such_gpu_text(index, count));
    // Waiting threads sleep: the processor is busy with other things, and a step is long beside the wake-up.
    check(cudaInitDevice(index, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid),
          "starting the GPU");
    use_gpu(index);
    cudaFuncAttributes attributes;
    const cudaError_t status = cudaFuncGetAttributes(&attributes, probe);
    if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
        cudaGetLastError();  // dealt with: the next check must not find it
        cudaDeviceProp gpu;
        check(cudaGetDeviceProperties(&gpu, index), "asking what GPU this is");
        fail(ExitCode::device, "{}", unsupported_gpu_text(index, gpu.name, gpu.major, gpu.minor));
    }
    check(status, "loading the kernels");
}

CudaDevice::CudaDevice(int index, DType compute_type, const std::string& matmul_plans)
    : Device(cuda::ops(), compute_type, Stream{.threads = 1, .cuda = &working_}), index_(index) {
    if (compute_type != DType::f32 && compute_type != DType::bf16)
        fail(ExitCode::usage, "a GPU computes in f32 or bf16, not in {}", name_of(compute_type));
    check_gpu(index);
    cudaDeviceProp gpu;
    check(cudaGetDeviceProperties(&gpu, index), "asking what GPU this is");
    name_ = gpu.name;
    total_bytes_ = static_cast<int64_t>(gpu.totalGlobalMem);
    working_.multiprocessors = gpu.multiProcessorCount;
    try {
        check(cudaStreamCreateWithFlags(&working_.handle, cudaStreamNonBlocking), "making a stream");
        working_.scratch = allocate(scratch_bytes);
        working_.scratch_bytes = scratch_bytes;
        matmul_plans_ = std::make_unique<MatmulPlans>(matmul_plans, name_, working_.multiprocessors);
        working_.matmul = matmul_plans_.get();
        attention_ = cudnn_attention(working_.handle);
        working_.attention = attention_.get();
    } catch (...) {
        close();
        throw;
    }
}

CudaDevice::~CudaDevice() {
    close();
}

// Also after a failure on the GPU, when every call here fails: that has been said elsewhere.
void CudaDevice::close() noexcept {
    cudaSetDevice(index_);
    if (working_.handle) cudaStreamSynchronize(working_.handle);
    attention_.reset();
    matmul_plans_.reset();
    cudaFree(working_.scratch);
    if (working_.handle) cudaStreamDestroy(working_.handle);
}

std::string CudaDevice::description() const {
    return fmt::format("{}, {:.1f} GiB, {}", name_, static_cast<double>(total_bytes_) / (1 << 30),
                       name_of(compute_type_));
}

void* CudaDevice::allocate(int64_t bytes) {
    use_gpu(index_);
    void* memory = nullptr;
    const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
    const cudaError_t status = cudaMalloc(&memory, size);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();  // dealt with: the next check must not find it
        fail(ExitCode::device, "{}", out_of_memory_text(bytes, free_bytes(), total_bytes_));
    }
    check(status, "allocating memory");
    // Waited for, because other streams may use the memory next.
    const cudaError_t filled = cudaMemsetAsync(memory, 0, size, working_.handle);
    const cudaError_t done = filled ? filled : cudaStreamSynchronize(working_.handle);
    if (done) cudaFree(memory);
    check(done, "filling memory with zeros");
    return memory;
}

void CudaDevice::release(void* memory) noexcept {
    cudaSetDevice(index_);
    cudaFree(memory);
}

int64_t CudaDevice::free_bytes() const {
    use_gpu(index_);
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    return static_cast<int64_t>(free);
}

void* CudaDevice::allocate_pinned(int64_t bytes) {
    use_gpu(index_);
    void* memory = nullptr;
    const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
    const cudaError_t status = cudaHostAlloc(&memory, size, cudaHostAllocPortable);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();  // dealt with: the next check must not find it
        fail(ExitCode::device, "not enough host memory that can be pinned for the GPU: {:.1f} MiB asked for",
             static_cast<double>(bytes) / (1 << 20));
    }
    check(status, "allocating pinned memory");
    return std::memset(memory, 0, size);
}

void CudaDevice::release_pinned(void* memory) noexcept {
    cudaSetDevice(index_);
    cudaFreeHost(memory);
}

// From or to pageable memory the driver may or may not have finished with the host side when it returns: then
// it is waited for.
void CudaDevice::move(Stream& stream, void* to, const void* from, int64_t bytes, const void* host) {
    copy(stream, to, from, bytes);
    if (bytes <= 0) return;
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, host), "copying between host and GPU");
    if (attributes.type == cudaMemoryTypeUnregistered) wait(stream);
}

void CudaDevice::copy(Stream& stream, void* to, const void* from, int64_t bytes) {
    if (bytes <= 0 || to == from) return;
    use_gpu(index_);
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream.cuda->handle),
          "copying");
}

void CudaDevice::fill_zero(Stream& stream, void* memory, int64_t bytes) {
    if (bytes <= 0) return;
    use_gpu(index_);
    check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream.cuda->handle),
          "filling memory with zeros");
}

void CudaDevice::wait(Stream& stream) {
    use_gpu(index_);
    check(cudaStreamSynchronize(stream.cuda->handle), "work on its stream");
}

std::unique_ptr<Device::Event> CudaDevice::make_event() {
    return std::make_unique<CudaEvent>(index_);
}

std::unique_ptr<Device> open_gpu(int index, DType compute_type, const std::string& matmul_plans) {
    return std::make_unique<CudaDevice>(index, compute_type, matmul_plans);
}

void* scratch(Stream& stream, int64_t bytes) {
    if (bytes > stream.cuda->scratch_bytes)
        fail(ExitCode::internal, "scratch memory of {} bytes asked for, the stream has {}", bytes,
             stream.cuda->scratch_bytes);
    return stream.cuda->scratch;
}

}  // namespace templar::cuda
