// A miner's work on one or several devices of one machine: each takes its share of every batch, the gradients meet at
// the device that owns the tensor, and that device alone keeps the tensor's momentum and compresses it.
//
// Gradients travel (Communicator) while the backward of the last batch goes on: a layer's as soon as it is complete.
// Each rank holds the weights in the compute type, all gradients, and the momentum of its own tensors. Only the first
// device holds a replica; after each window its weights are copied to the others.
#pragma once

#include "engine/model/llama.h"
#include "engine/optim/demo.h"
#include "engine/parallel/rank_threads.h"
#include "kernels/communicator.h"

#include <memory>
#include <span>
#include <vector>

namespace templar {

class DataParallel {
  public:
    // devices, layout: outlive this object; all devices have one compute type. batch: sequences of seq tokens on each
    // device at a time. beta: of DeMo. Used by one thread, always the same. Throws as Llama, Demo and `connect` do.
    using Connect = std::function<std::vector<std::unique_ptr<Communicator>>(std::span<Device* const>)>;
    DataParallel(std::span<Device* const> devices, const LlamaConfig& config, const Layout& layout, int64_t batch,
                 int64_t seq, float beta, const Connect& connect = communicators);
    ~DataParallel();

    int64_t ranks() const { return std::ssize(ranks_); }
    // Sequences of one forward_backward().
    int64_t batch() const { return ranks() * batch_; }

    // The weights to work with from now on, on devices[0] in its compute type (Replica::weights()): they are read
    // there, and copied to the others.
    void set_weights(Tensor weights);
    void zero_gradient();
    // Adds d(sum of token losses)/d(weights). tokens, labels: (batch(), seq), as Llama takes them. `last` of the window:
    // the gradients are summed over the devices meanwhile, or after it if it is the first batch of all. Returns when
    // the work is enqueued.
    class Pending {
      public:
        // Waits; the sum of the token losses in nats.
        double wait() const;

      private:
        friend class DataParallel;
        std::vector<Llama::Pending> parts_;
    };
    Pending forward_backward(std::span<const int32_t> tokens, std::span<const int32_t> labels, bool last);
    // Sums the gradients over the devices, unless the last forward_backward() did.
    void reduce_gradient();
    // The gradient of the first device, and none on the others: for tests and made-up gradients.
    void set_gradient(std::span<const float> gradient);
    // The whole sum; after reduce_gradient().
    std::vector<float> gradient();

    // One DeMo step on the summed gradient, as Demo::step.
    void compress(float eta, float scale, std::span<uint8_t> payload);

    // All momentum, layout.parameters values in chunk order: part of a miner's checkpoint. The same whatever the
    // devices.
    std::vector<float> momentum();
    void set_momentum(std::span<const float> momentum);

  private:
    struct Rank;
    void each(const std::function<void(Rank&)>& task);

    const Layout& layout_;
    int64_t batch_, seq_;
    std::vector<std::unique_ptr<Communicator>> communicators_;
    std::vector<std::unique_ptr<Rank>> ranks_;
    bool ran_ = false;  // a batch, on all devices
    bool reduced_ = false;
    RankThreads threads_;
};

}  // namespace templar
