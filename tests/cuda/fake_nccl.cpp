// NCCL's part, as a library of its own because kernels/cuda/nccl.cu loads it: a group ends when every rank's
// thread has brought its calls, and is done when ncclGroupEnd returns.
#include "tests/cuda/fake_cuda.h"

#include <nccl.h>

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>

using templar::test::fake;

namespace {

struct Call {
    bool reduce;
    const void* from;
    void* to;
    size_t count;
    int root;
};

struct Clique {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::vector<Call>> calls;
    size_t here = 0;
    int64_t groups = 0;
    bool aborted = false;
};

}  // namespace

struct ncclComm {
    std::shared_ptr<Clique> clique;
    size_t rank;
};

namespace {

thread_local ncclComm* current = nullptr;
thread_local std::vector<Call> queue;

// In order of the ranks.
void run(Clique& clique) {
    for (size_t i = 0; i < clique.calls[0].size(); ++i) {
        const Call& root = clique.calls[static_cast<size_t>(clique.calls[0][i].root)][i];
        if (root.reduce) {
            std::vector<float> sum(root.count);
            for (const auto& calls : clique.calls)
                for (size_t j = 0; j < root.count; ++j) sum[j] += static_cast<const float*>(calls[i].from)[j];
            std::memcpy(root.to, sum.data(), root.count * sizeof(float));
        } else {
            for (const auto& calls : clique.calls)
                if (calls[i].to != root.from) std::memcpy(calls[i].to, root.from, root.count);
        }
    }
}

ncclResult_t queued(Call call, ncclComm_t comm, cudaStream_t stream) {
    current = comm;
    queue.push_back(call);
    templar::test::log_call("nccl", stream);
    return ncclSuccess;
}

}  // namespace

extern "C" {

const char* ncclGetErrorString(ncclResult_t) {
    return "aborted";
}
ncclResult_t ncclCommInitAll(ncclComm_t* comms, int count, const int*) {
    const auto clique = std::make_shared<Clique>();
    clique->calls.resize(static_cast<size_t>(count));
    for (int rank = 0; rank < count; ++rank) comms[rank] = new ncclComm{clique, static_cast<size_t>(rank)};
    return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    delete comm;
    return ncclSuccess;
}
// The handle stays: a rank may be waiting with it.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
    const std::lock_guard lock(comm->clique->mutex);
    comm->clique->aborted = true;
    comm->clique->changed.notify_all();
    return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* status) {
    *status = ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
    queue.clear();
    return ncclSuccess;
}
ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                        int root, ncclComm_t comm, cudaStream_t stream) {
    if (type != ncclFloat || op != ncclSum) return ncclInvalidArgument;
    return queued({true, from, to, count, root}, comm, stream);
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
    if (type != ncclChar) return ncclInvalidArgument;
    return queued({false, from, to, count, root}, comm, stream);
}
ncclResult_t ncclGroupEnd() {
    if (queue.empty()) return ncclSuccess;
    Clique& clique = *current->clique;
    std::unique_lock lock(clique.mutex);
    clique.calls[current->rank] = queue;
    if (++clique.here == clique.calls.size()) {
        run(clique);
        clique.here = 0;
        ++clique.groups;
        clique.changed.notify_all();
        return ncclSuccess;
    }
    const int64_t group = clique.groups;
    clique.changed.wait(lock, [&] { return clique.groups != group || clique.aborted; });
    return clique.groups != group ? ncclSuccess : ncclInternalError;
}

}  // extern "C"
