// Sums over GPUs of one machine by NCCL: one communicator and one stream of its own for each rank, so that
// sums travel while the rank's other stream computes. Numbers on the host take the threads' way
// (kernels/thread_communicator.h).
//
// Bound: the fp32 gradients of a 1.2B model are 4.8 GB; a reduction sends each byte once over every link it
// crosses. The order of addition is NCCL's, which is fixed for one machine and one version of the library.
#include "kernels/cuda/nccl.h"

#include "base/error.h"

#if __has_include(<nccl.h>)

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/thread_communicator.h"

#include <dlfcn.h>
#include <nccl.h>

#include <atomic>

namespace templar::cuda {

namespace {

// The library's functions. It is loaded when several GPUs are asked for, so that one GPU needs no NCCL.
struct Nccl {
    decltype(&ncclCommInitAll) init_all;
    decltype(&ncclCommDestroy) destroy;
    decltype(&ncclCommAbort) abort;
    decltype(&ncclGroupStart) group_start;
    decltype(&ncclGroupEnd) group_end;
    decltype(&ncclReduce) reduce;
    decltype(&ncclBroadcast) broadcast;
    decltype(&ncclCommGetAsyncError) async_error;
    decltype(&ncclGetErrorString) error_string;

    void check(ncclResult_t status, const char* doing) const {
        if (status == ncclSuccess) return;
        cuda::check(cudaPeekAtLastError(), doing);
        fail(ExitCode::device, "NCCL failed in {}: {}", doing, error_string(status));
    }
};

template <class Function>
void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) fail(ExitCode::device, "libnccl.so.2 has no {}: install a newer NCCL", name);
}

const Nccl& nccl() {
    static const Nccl functions = [] {
        void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            fail(ExitCode::device, "several GPUs need NCCL: {}; install it, or use one GPU", dlerror());
        Nccl found{};
        find(library, "ncclCommInitAll", found.init_all);
        find(library, "ncclCommDestroy", found.destroy);
        find(library, "ncclCommAbort", found.abort);
        find(library, "ncclGroupStart", found.group_start);
        find(library, "ncclGroupEnd", found.group_end);
        find(library, "ncclReduce", found.reduce);
        find(library, "ncclBroadcast", found.broadcast);
        find(library, "ncclCommGetAsyncError", found.async_error);
        find(library, "ncclGetErrorString", found.error_string);
        return found;
    }();
    return functions;
}

// NCCL's handles of all ranks, so that one that gives up can end what the others wait for.
struct Handles {
    std::vector<ncclComm_t> comms;
    std::atomic<bool> aborted = false;

    // After this no handle may be used; a rank's call that is under way returns with an error.
    void abort() noexcept {
        if (aborted.exchange(true)) return;
        for (ncclComm_t comm : comms) nccl().abort(comm);
    }
    ~Handles() {
        if (aborted) return;
        for (ncclComm_t comm : comms) nccl().destroy(comm);
    }
};

class NcclCommunicator final : public ThreadCommunicator {
  public:
    NcclCommunicator(std::shared_ptr<Meeting> meeting, std::shared_ptr<Handles> handles, int rank, int gpu)
        : ThreadCommunicator(std::move(meeting), rank), handles_(std::move(handles)), gpu_(gpu) {
        use_gpu(gpu_);
        int least = 0, greatest = 0;
        cuda::check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "making a stream");
        // First in line for multiprocessors that become free: what others wait for.
        cuda::check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest),
                    "making a stream");
        cuda::check(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), "making an event");
        cuda::check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "making an event");
    }
    ~NcclCommunicator() override {
        cudaSetDevice(gpu_);
        cudaStreamSynchronize(stream_);
        cudaEventDestroy(done_);
        cudaEventDestroy(ready_);
        cudaStreamDestroy(stream_);
    }

    void reduce(Stream& stream, std::span<const Part> parts) override {
        for (const Part& part : parts)
            if (part.tensor.dtype != DType::f32)
                fail(ExitCode::internal, "reduce: {}, f32 only", name_of(part.tensor.dtype));
        together(stream, parts, [&](const Part& part, ncclComm_t comm) {
            return nccl().reduce(part.tensor.data, part.tensor.data, count(part), ncclFloat, ncclSum,
                                 part.owner, comm, stream_);
        });
    }
    void broadcast(Stream& stream, std::span<const Part> parts) override {
        together(stream, parts, [&](const Part& part, ncclComm_t comm) {
            const auto bytes = count(part) * static_cast<size_t>(bytes_of(part.tensor.dtype));
            return nccl().broadcast(part.tensor.data, part.tensor.data, bytes, ncclChar, part.owner, comm,
                                    stream_);
        });
    }
    void finish(Stream& stream) override {
        use_gpu(gpu_);
        check_alive("finish");
        cuda::check(cudaEventRecord(done_, stream_), "finish");
        cuda::check(cudaStreamWaitEvent(stream.cuda->handle, done_), "finish");
    }
    void abort() noexcept override {
        ThreadCommunicator::abort();
        handles_->abort();
    }

  private:
    static size_t count(const Part& part) { return static_cast<size_t>(part.tensor.numel()); }

    void check_alive(const char* doing) {
        if (handles_->aborted)
            fail(ExitCode::device, "another device failed, so this one stops in {}", doing);
        ncclResult_t status = ncclSuccess;
        nccl().check(nccl().async_error(handles_->comms[static_cast<size_t>(rank())], &status), doing);
        nccl().check(status, doing);
    }

    // Enqueues call(part) for all parts as one group, which NCCL runs as one kernel.
    template <class Call>
    void together(Stream& stream, std::span<const Part> parts, Call call) {
        use_gpu(gpu_);
        check_alive("starting a collective");
        cuda::check(cudaEventRecord(ready_, stream.cuda->handle), "starting a collective");
        cuda::check(cudaStreamWaitEvent(stream_, ready_), "starting a collective");
        nccl().check(nccl().group_start(), "starting a collective");
        ncclResult_t status = ncclSuccess;
        for (const Part& part : parts)
            if (status == ncclSuccess && part.tensor.numel() > 0)
                status = call(part, handles_->comms[static_cast<size_t>(rank())]);
        const ncclResult_t ended = nccl().group_end();
        nccl().check(status, "a collective");
        nccl().check(ended, "a collective");
    }

    std::shared_ptr<Handles> handles_;
    int gpu_;
    cudaStream_t stream_ = nullptr;
    cudaEvent_t ready_ = nullptr, done_ = nullptr;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> nccl_communicators(std::span<Device* const> devices) {
    std::vector<int> gpus;
    for (Device* device : devices) {
        const auto* gpu = dynamic_cast<CudaDevice*>(device);
        if (!gpu) fail(ExitCode::internal, "NCCL is for GPUs, not for {}", device->description());
        gpus.push_back(gpu->index());
    }
    const auto handles = std::make_shared<Handles>();
    std::vector<ncclComm_t> comms(gpus.size());
    nccl().check(nccl().init_all(comms.data(), static_cast<int>(gpus.size()), gpus.data()),
                 "connecting the GPUs");
    handles->comms = comms;
    const auto meeting = std::make_shared<Meeting>(static_cast<int>(gpus.size()));
    std::vector<std::unique_ptr<Communicator>> all;
    for (size_t rank = 0; rank < gpus.size(); ++rank)
        all.push_back(
            std::make_unique<NcclCommunicator>(meeting, handles, static_cast<int>(rank), gpus[rank]));
    return all;
}

}  // namespace templar::cuda

#else

namespace templar::cuda {

std::vector<std::unique_ptr<Communicator>> nccl_communicators(std::span<Device* const>) {
    fail(ExitCode::device,
         "several GPUs need NCCL, and this program was built without its header: install it and build again");
}

}  // namespace templar::cuda

#endif
