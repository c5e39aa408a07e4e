// Several devices of one machine that train one model together: one process, and for each device one thread,
// its rank.
//
// How a training step uses it: each rank computes gradients of its own sequences. Backward ends layer by
// layer, last layer first; as soon as a layer's gradients are complete the ranks call reduce() with the
// layer's tensors, and the sums travel while backward goes on with the next layer. Each tensor goes to one
// rank, its owner (balanced_owners()), which alone compresses it.
//
//     model.on_gradients([&](int64_t layer) { communicator.reduce(stream, parts[layer]); });
//     model.forward_backward(...);
//     communicator.finish(stream);  // compression of owned tensors may follow
#pragma once

#include "kernels/device.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace templar {

// Every function but abort() is for all ranks together: each calls the same ones in the same order, with
// tensors of the same shapes. They throw Error(device) when another rank gave up (abort()), Error(internal)
// when the ranks' calls do not match.
class Communicator {
  public:
    // A tensor, and the rank that owns it.
    struct Part {
        Tensor tensor;
        int owner = 0;
    };

    virtual ~Communicator() = default;
    Communicator(const Communicator&) = delete;
    Communicator& operator=(const Communicator&) = delete;

    int rank() const { return rank_; }
    int size() const { return size_; }

    // Each value becomes its sum over the ranks, added in their order: the same bits everywhere.
    virtual void all_reduce_sum(std::span<double> values) = 0;
    // Returns when all ranks have called it.
    virtual void barrier() = 0;

    // fp32: the owner's tensor becomes the sum over the ranks, in an order that is the same on every run. The
    // others' keep their values. Begins when the work enqueued on `stream` so far is done and runs beside
    // what is enqueued later, which may not touch the tensors before finish().
    virtual void reduce(Stream& stream, std::span<const Part> parts) = 0;
    // Any type: every rank's tensor becomes the owner's. Otherwise as reduce().
    virtual void broadcast(Stream& stream, std::span<const Part> parts) = 0;
    // What is enqueued on `stream` from now on begins when everything started so far is done.
    virtual void finish(Stream& stream) = 0;

    // For a rank that cannot go on (its thread threw): the others' calls, waiting or later ones, throw
    // instead of hanging.
    virtual void abort() noexcept = 0;

  protected:
    Communicator(int rank, int size) : rank_(rank), size_(size) {}

  private:
    int rank_, size_;
};

// One for each rank, in order. Tensors of CPU devices, and of every device whose memory the host shares, are
// added by the ranks' threads; those of GPUs by NCCL. Throws Error(device), e.g. when there is no NCCL.
std::vector<std::unique_ptr<Communicator>> communicators(std::span<Device* const> devices);
// For memory that the host shares.
std::vector<std::unique_ptr<Communicator>> thread_communicators(int size);
// For any devices: everything travels through the host's memory, and nothing beside other work. Sums as
// thread_communicators().
std::vector<std::unique_ptr<Communicator>> host_communicators(std::span<Device* const> devices);

// The owner of each tensor, so that the ranks' shares are near equal: the largest first, each to the rank
// with the least so far (the lowest of these).
std::vector<int> balanced_owners(std::span<const int64_t> sizes, int ranks);

}  // namespace templar
