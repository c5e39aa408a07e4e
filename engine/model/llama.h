// The Llama decoder: explicit forward and backward through kernels/ops.h, all memory planned before the first
// step.
#pragma once

#include "engine/model/config.h"
#include "kernels/arena.h"
#include "kernels/device.h"

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace templar {

struct WeightViews;

enum class Pass { inference, training };

// What a step will need, known before anything is allocated.
struct MemoryPlan {
    std::vector<Arena::Entry> activations;  // layers share names: an entry for each
    int64_t activation_bytes = 0;
    int64_t parameter_count = 0;
    int64_t optimizer_bytes = 0;  // for whoever trains to fill in: a model knows no optimiser
    Pass pass = Pass::training;
    DType compute = DType::f32;
    // What does not grow with the batch: weights, and for training gradients, fp32 master weights and the optimiser's state.
    int64_t fixed_bytes() const;
    // A table for people: bytes per tensor group, per sequence, in all.
    std::string table(int64_t batch) const;
};

class Llama {
  public:
    static constexpr int32_t ignore_label = -100;

    // Plans and allocates on `device` (which outlives the model) for up to `batch` sequences of `seq` tokens.
    // Pass::inference needs no memory for the backward. Throws Error(input) on an impossible shape,
    // Error(storage) (on a GPU: device) when memory is short, naming the largest batch that fits.
    Llama(Device& device, const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass);
    ~Llama();

    // The plan that the constructor would follow; allocates nothing. Throws Error(input) on an impossible
    // shape.
    static MemoryPlan dry_run(const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass,
                              DType compute = DType::f32);

    const LlamaConfig& config() const { return config_; }
    const MemoryPlan& plan() const { return plan_; }
    int64_t allocated_bytes() const { return arena_.bytes(); }
    int64_t batch() const { return batch_; }
    int64_t seq() const { return seq_; }

    // Losses on their way from the device, in nats: of each token, 0 where ignored, or of each target.
    class Pending {
      public:
        // Waits until they are here. The values stay until the model is given two more batches.
        std::span<const float> wait() const;
        // Of target_losses(), after wait(): 1 where no token is more likely than the label, else 0. Of others: none.
        std::span<const uint8_t> greedy() const;

      private:
        friend class Llama;
        struct Slot;
        Slot* slot_ = nullptr;
        size_t count_ = 0, greedy_count_ = 0;
    };

    // Adds scale · d(sum of token losses)/d(weights) to grads. weights: the flat arena in the device's compute
    // type; grads: as long, fp32; both on the device. tokens, labels: (rows, seq) row-major, rows <= batch, free
    // again on return; labels are aligned with tokens (already shifted), < 0: ignored. Returns when the work is
    // enqueued, at most two batches ahead of the device. Throws Error(input) when a token or label is outside
    // the vocabulary; grads are then untouched.
    Pending forward_backward(Tensor weights, Tensor grads, std::span<const int32_t> tokens,
                             std::span<const int32_t> labels, float scale);

    // The same losses without gradients.
    Pending losses(Tensor weights, std::span<const int32_t> tokens, std::span<const int32_t> labels);

    // The loss of `label` after the token at `position` of the batch, counted through its rows.
    struct Target {
        int32_t position, label;
    };
    // The losses of these targets alone, in their order: other positions cost nothing in the head. A position may have
    // several. length: tokens per sequence, 1 to seq: as many shorter sequences as there is room for, rows·length <=
    // batch·seq. Throws Error(input) as forward_backward, when the length is none of these, when a position is outside
    // the tokens, a label outside the vocabulary, or there are none or more than batch·seq targets.
    Pending target_losses(Tensor weights, std::span<const int32_t> tokens, int64_t length,
                          std::span<const Target> targets);

    // All logits, (rows, seq, vocab), on the host: for tests.
    void logits(Tensor weights, std::span<const int32_t> tokens, std::span<float> out);

    // Called while forward_backward enqueues: the gradients of a layer's weights are complete (on the stream) when its number comes,
    // those of the final norm and an untied head with config().layers, those of the embedding with -1, in the order of the backward.
    using GradientsDone = std::function<void(int64_t layer)>;
    void on_gradients(GradientsDone done) { gradients_done_ = std::move(done); }

    // For tests: called with each activation as it is computed. Names, in order: "embed"; per layer
    // "input_layernorm", "qkv", "qkv_rope", "attn", "mid", "post_attention_layernorm", "gate_up", "act",
    // "out"; "final_norm". On the way back the gradients "d.logits" (once per chunk of rows), "d.final_norm";
    // per layer from the last "d.out", "d.act", "d.mid", "d.attn", "d.qkv_rope"; "d.embed". `layer` is -1
    // outside the layers. The tensor, in device memory, is valid during the call.
    using Observer = std::function<void(std::string_view name, int64_t layer, const Tensor& values)>;
    void observe(Observer observer) { observer_ = std::move(observer); }

  private:
    struct LayerActivations;
    struct BatchTensors;
    struct Activations;
    // Sequences of a batch and their tokens.
    struct Extent {
        int64_t rows, length;
        int64_t tokens() const { return rows * length; }
    };

    Extent checked_extent(const Tensor& weights, std::span<const int32_t> tokens, int64_t length) const;
    void check_labels(std::span<const int32_t> labels, std::span<const int32_t> tokens) const;
    void check_targets(std::span<const Target> targets, Extent extent) const;
    Pending::Slot& send(std::span<const int32_t> tokens, std::span<const int32_t> labels);
    void send(Pending::Slot& slot, std::span<const Target> targets);
    void upload(Tensor to, std::span<const int32_t> pinned);
    Pending fetch_losses(Pending::Slot& slot, int64_t count, bool greedy);
    void forward(const WeightViews& weights, Tensor tokens, Extent extent);
    void head_forward_backward(const WeightViews& weights, const WeightViews& grads, Tensor labels, float scale,
                               Tensor token_losses, Tensor dnormed);
    void backward(const WeightViews& weights, const WeightViews& grads, Tensor tokens, Extent extent);
    void linear(Tensor y, Tensor x, Tensor weight);
    void linear_backward(Tensor dx, Tensor dweight, Tensor dy, Tensor x, Tensor weight);
    void done(int64_t layer) const {
        if (gradients_done_) gradients_done_(layer);
    }
    void show(std::string_view name, int64_t layer, const Tensor& values) const {
        if (observer_) observer_(name, layer, values);
    }

    Device& device_;
    const Ops& ops_;
    Stream& stream_;
    LlamaConfig config_;
    int64_t batch_, seq_;
    Pass pass_;
    MemoryPlan plan_;
    Arena arena_;
    std::unique_ptr<Activations> activations_;
    std::array<std::unique_ptr<Pending::Slot>, 2> slots_;
    size_t next_slot_ = 0;
    Observer observer_;
    GradientsDone gradients_done_;
};

// Genesis weights: N(0, 0.02) matrices, ones for norms, from a counter generator keyed by SHA-256("genesis" ‖
// u64 seed). They are published as an object with their root and never re-made, because libm differs between
// machines.
std::vector<float> genesis_weights(const LlamaConfig& config, uint64_t seed);

}  // namespace templar
