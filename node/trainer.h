// Training on one machine with AdamW: the baseline that a swarm is compared with.
#pragma once

#include "base/events.h"
#include "engine/data/corpus.h"
#include "engine/model/mean_loss.h"
#include "engine/optim/adamw.h"
#include "engine/optim/schedule.h"

#include <atomic>
#include <filesystem>
#include <functional>

namespace templar {

struct TrainOptions {
    LlamaConfig model;
    int64_t seq = 128;
    int64_t micro_batch = 8;    // sequences per forward and backward
    int64_t micro_batches = 1;  // per step
    int64_t steps = 1000;
    int64_t checkpoint_steps = 100;
    int64_t eval_steps = 50;  // held-out loss every so many steps; 0: never
    int64_t eval_sequences = 64;
    Schedule schedule{
        .peak = 1e-3, .floor_share = 0.1, .warmup_steps = 50, .cosine_steps = 1000};  // in steps
    AdamWOptions adamw;
    uint64_t seed = 42;
    DeviceChoice device{.name = "cpu"};
    int32_t end_token = -1;
    std::filesystem::path folder;  // checkpoint, events.jsonl
};

struct TrainStep {
    int64_t step;
    double loss, grad_norm, tokens_per_second;
    double heldout_loss;  // NaN when it was not measured
};

class Trainer {
  public:
    // Resumes from folder/checkpoint when there is one. The corpora outlive this object.
    Trainer(const TrainOptions& options, const Corpus& train, const Corpus& heldout);

    // Until options.steps are done or `stop`; saves at the end. Same bits whether or not it was interrupted.
    void run(const std::atomic<bool>& stop, const std::function<void(const TrainStep&)>& report);

    int64_t step() const { return step_; }
    std::vector<float> params() const { return params_.download(); }
    std::string device() const { return device_->description(); }
    const MemoryPlan& plan() const { return model_.plan(); }

  private:
    Tensor weights() const { return weights_ ? weights_.tensor() : params_.tensor(); }
    MeanLoss::Sum accumulate();
    void save();
    void resume();

    TrainOptions options_;
    const Corpus& train_;
    std::vector<SequenceId> heldout_ids_;
    std::unique_ptr<Device> device_;
    DeviceArray params_, weights_, grads_;  // weights_: params_ in the compute type, empty where that is fp32
    AdamW optimizer_;
    Llama model_;  // after all that does not grow with the batch: it says which batch fits into the rest
    MeanLoss loss_, heldout_loss_;
    EventLog events_;
    int64_t step_ = 0;
};

}  // namespace templar
