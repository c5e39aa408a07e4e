// Stage 2: the loss before and after each peer's update (docs/protocol.md §8.2).
#pragma once

#include "engine/data/corpus.h"
#include "engine/gauntlet/gauntlet.h"
#include "engine/model/mean_loss.h"
#include "engine/replica/replica.h"

namespace templar {

class Stage2 {
  public:
    // candidate: room for a model's weights in the device's compute type. It and `losses` outlive this object.
    Stage2(MeanLoss& losses, Tensor candidate) : losses_(losses), candidate_(candidate) {}

    // Losses at theta and at theta - step·sign(decode(payload)) on `own` and `random`.
    // `random_before` is the loss at theta on `random`, the same for every peer of a window: measured once by
    // the caller.
    Evaluation evaluate(Replica& replica, std::span<const uint8_t> payload, float step,
                        std::span<const SequenceId> own, std::span<const SequenceId> random,
                        double random_before);

  private:
    MeanLoss& losses_;
    Tensor candidate_;
};

// First-order prediction, for each payload, of how far the loss falls when step·sign(decode(payload)) is taken from theta:
// step·<grads, sign>, grads being the gradient of the mean loss at theta, on the device (docs/protocol.md §8.2).
std::vector<double> first_order_screen(Device& device, const Layout& layout, Tensor grads,
                                       std::span<const std::span<const uint8_t>> payloads, float step);

// `count` different sequences drawn by a generator, or as many as there are. The order of `pages` and
// repetitions in it do not matter.
std::vector<SequenceId> draw_sequences(CounterRng& rng, std::span<const int64_t> pages,
                                       int64_t page_sequences, int64_t count);

}  // namespace templar
