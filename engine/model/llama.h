// The Llama decoder: explicit forward and backward through kernels/ops.h, all memory planned before the first step.
#pragma once

#include "engine/model/config.h"
#include "kernels/arena.h"
#include "kernels/ops.h"

#include <span>

namespace templar {

// What a step will need, known before anything is allocated.
struct MemoryPlan {
    std::vector<Arena::Entry> activations;
    int64_t activation_bytes = 0;
    int64_t parameter_count = 0;
    // A table for people: bytes per tensor group, per sequence, in all (parameters, gradients and activations).
    std::string table(int64_t batch) const;
};

enum class Pass { inference, training };

class Llama {
  public:
    static constexpr int32_t ignore_label = -100;

    // Plans and allocates for up to `batch` sequences of `seq` tokens. Pass::inference needs no memory for the backward.
    // Throws Error(input) on an impossible shape, Error(storage) when memory is short.
    Llama(const Ops& ops, Stream stream, const LlamaConfig& config, int64_t batch, int64_t seq, Pass pass);

    const LlamaConfig& config() const { return config_; }
    const MemoryPlan& plan() const { return plan_; }
    int64_t batch() const { return batch_; }
    int64_t seq() const { return seq_; }

    // Adds scale · d(sum of token losses)/d(params) to grads. tokens, labels: (rows, seq) row-major, rows <= batch; labels are
    // aligned with tokens (already shifted), < 0: ignored. token_losses: rows·seq, 0 where ignored. params, grads: flat arenas.
    // Throws Error(input) when a token or label is outside the vocabulary.
    void forward_backward(std::span<const float> params, std::span<float> grads, std::span<const int32_t> tokens,
                          std::span<const int32_t> labels, float scale, std::span<float> token_losses);

    // Per-token losses without gradients.
    void losses(std::span<const float> params, std::span<const int32_t> tokens, std::span<const int32_t> labels,
                std::span<float> token_losses);

    // All logits, (rows, seq, vocab): for tests, sampling and evaluation.
    void logits(std::span<const float> params, std::span<const int32_t> tokens, std::span<float> out);

    // An intermediate of the last forward_backward by the name that Hugging Face's modules give it (tests).
    // ... see llama.cpp for which are kept.

  private:
    struct Layer;
    struct Activations;
    LlamaConfig config_;
    MemoryPlan plan_;
    int64_t batch_ = 0, seq_ = 0;
};

// Genesis weights: N(0, 0.02) matrices, ones for norms, from a counter generator keyed by SHA-256("genesis" ‖ u64 seed).
// They are published as an object with their root and never re-made, because libm differs between machines.
std::vector<float> genesis_weights(const LlamaConfig& config, uint64_t seed);

}  // namespace templar
