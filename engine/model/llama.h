// The Llama decoder: explicit forward and backward through kernels/ops.h, all memory planned before the first
// step.
#pragma once

#include "engine/model/config.h"
#include "kernels/arena.h"
#include "kernels/ops.h"

#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace templar {

enum class Pass { inference, training };

// What a step will need, known before anything is allocated.
struct MemoryPlan {
    std::vector<Arena::Entry> activations;  // layers share names: an entry for each
    int64_t activation_bytes = 0;
    int64_t parameter_count = 0;
    Pass pass = Pass::training;
    // A table for people: bytes per tensor group, per sequence, in all (parameters, gradients and
    // activations).
    std::string table(int64_t batch) const;
};

class Llama {
  public:
    static constexpr int32_t ignore_label = -100;

    // Plans and allocates for up to `batch` sequences of `seq` tokens. Pass::inference needs no memory for
    // the backward. Throws Error(input) on an impossible shape, Error(storage) when memory is short, naming
    // the largest batch that fits.
    Llama(const Ops& ops, Stream stream, const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass);
    ~Llama();

    // The plan that the constructor would follow; allocates nothing. Throws Error(input) on an impossible
    // shape.
    static MemoryPlan dry_run(const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass);

    const LlamaConfig& config() const { return config_; }
    const MemoryPlan& plan() const { return plan_; }
    int64_t allocated_bytes() const { return arena_.bytes(); }
    int64_t batch() const { return batch_; }
    int64_t seq() const { return seq_; }

    // Adds scale · d(sum of token losses)/d(params) to grads. tokens, labels: (rows, seq) row-major, rows <=
    // batch; labels are aligned with tokens (already shifted), < 0: ignored. token_losses: rows·seq, 0 where
    // ignored. params, grads: flat arenas. Throws Error(input) when a token or label is outside the
    // vocabulary; grads are then untouched.
    void forward_backward(std::span<const float> params, std::span<float> grads,
                          std::span<const int32_t> tokens, std::span<const int32_t> labels, float scale,
                          std::span<float> token_losses);

    // Per-token losses without gradients.
    void losses(std::span<const float> params, std::span<const int32_t> tokens,
                std::span<const int32_t> labels, std::span<float> token_losses);

    // All logits, (rows, seq, vocab): for tests, sampling and evaluation.
    void logits(std::span<const float> params, std::span<const int32_t> tokens, std::span<float> out);

    // For tests: called with each activation as it is computed. Names, in order: "embed"; per layer
    // "input_layernorm", "qkv", "qkv_rope", "attn", "mid", "post_attention_layernorm", "gate_up", "act",
    // "out"; "final_norm". On the way back the gradients "d.logits" (once per chunk of rows), "d.final_norm";
    // per layer from the last "d.out", "d.act", "d.mid", "d.attn", "d.qkv_rope"; "d.embed". `layer` is -1
    // outside the layers. The tensor is valid during the call.
    using Observer = std::function<void(std::string_view name, int64_t layer, const Tensor& values)>;
    void observe(Observer observer) { observer_ = std::move(observer); }

  private:
    struct Layer;
    struct Weights;
    struct LayerActivations;
    struct Activations;

    int64_t checked_rows(std::span<const float> params, std::span<const int32_t> tokens) const;
    void check_labels(std::span<const int32_t> labels, std::span<const int32_t> tokens,
                      std::span<float> token_losses) const;
    void forward(const Weights& weights, Tensor tokens, int64_t rows);
    void head_forward_backward(const Weights& weights, const Weights& grads, Tensor labels, float scale,
                               Tensor token_losses, Tensor dnormed);
    void backward(const Weights& weights, const Weights& grads, Tensor tokens, int64_t rows);
    void linear(Tensor y, Tensor x, Tensor weight);
    void linear_backward(Tensor dx, Tensor dweight, Tensor dy, Tensor x, Tensor weight);
    void show(std::string_view name, int64_t layer, const Tensor& values) const {
        if (observer_) observer_(name, layer, values);
    }

    const Ops& ops_;
    Stream stream_;
    LlamaConfig config_;
    int64_t batch_, seq_;
    Pass pass_;
    MemoryPlan plan_;
    Arena arena_;
    std::unique_ptr<Activations> activations_;
    Observer observer_;
};

// Genesis weights: N(0, 0.02) matrices, ones for norms, from a counter generator keyed by SHA-256("genesis" ‖
// u64 seed). They are published as an object with their root and never re-made, because libm differs between
// machines.
std::vector<float> genesis_weights(const LlamaConfig& config, uint64_t seed);

}  // namespace templar
