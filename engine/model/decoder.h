// Text generation: the forward pass of the newest tokens of one sequence, the keys and values of all earlier ones kept.
#pragma once

#include "engine/model/config.h"
#include "kernels/device.h"

#include <memory>
#include <span>

namespace templar {

class Decoder {
  public:
    // Tokens of a prompt that go through the layers together: enough to read the weights seldom, few enough that their
    // activations are small beside them.
    static constexpr int64_t most_at_once = 256;

    // Plans and allocates on `device` (which outlives this object) for a sequence of up to `capacity` tokens. Throws
    // Error(input) on an impossible shape, Error(storage) (on a GPU: device) when memory is short.
    Decoder(Device& device, const LlamaConfig& config, int64_t capacity);
    ~Decoder();

    // Appends tokens and returns the logits (V) after the last of them, valid until the next call. weights: the flat arena
    // in the device's compute type. Throws Error(input) when a token is outside the vocabulary or the sequence would pass
    // `capacity`; nothing is appended then.
    std::span<const float> feed(Tensor weights, std::span<const int32_t> tokens);

    int64_t length() const;
    int64_t capacity() const;
    // Forgets all tokens from position `length` on.
    void rewind(int64_t length);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace templar
