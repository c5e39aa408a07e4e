// What turns gradients into an update of a flat parameter arena, on one machine.
#pragma once

#include "engine/model/config.h"
#include "kernels/device.h"

#include <memory>
#include <vector>

namespace templar {

class Optimizer {
  public:
    // Neighbouring tensors with the same weight decay, updated in one call.
    struct Range {
        int64_t offset;
        int64_t numel;
        float weight_decay;
    };

    virtual ~Optimizer() = default;

    // One update of the fp32 params with g = grad_scale·grads; `weights` become the params in the device's compute type
    // (absent when that is fp32). Returns the global norm of g before clipping.
    // g <- g·min(1, clip/(norm + 1e-6)), then the optimiser's own rule; counts steps from 1.
    // A norm that is not finite throws Error(input) and changes nothing.
    double step(Tensor params, Tensor weights, Tensor grads, float lr, float grad_scale = 1.0f);

    // What a checkpoint keeps: arrays as long as the parameters, and how many steps were made.
    virtual std::vector<DeviceArray*> state() = 0;
    int64_t& steps() { return steps_; }

  protected:
    // parameters: packed in order, as llama_parameters gives them. decay_1d: norms too, not only matrices (and
    // embeddings).
    Optimizer(Device& device, const std::vector<Parameter>& parameters, float weight_decay, bool decay_1d, float clip);
    int64_t parameter_count() const { return count_; }

    // Step number steps() on one range of each tensor; grad_scale includes the clip factor.
    virtual void update(const Range& range, Tensor params, Tensor weights, Tensor grads, float lr,
                        float grad_scale) = 0;

    Device& device_;

  private:
    std::vector<Range> ranges_;
    int64_t count_ = 0;
    float clip_;
    int64_t steps_ = 0;
};

}  // namespace templar
