// Training on one machine: the baseline that a swarm is compared with, continued training of any model, and stated
// experiments.
#pragma once

#include "base/events.h"
#include "base/file.h"
#include "engine/data/corpus.h"
#include "engine/model/mean_loss.h"
#include "node/train_options.h"

#include <atomic>
#include <functional>

namespace templar {

struct TrainStep {
    int64_t step = 0;                // 0: the held-out loss before the first
    double loss = 0, grad_norm = 0;  // of the weights before this step's update; the norm before clipping
    double learning_rate = 0;
    int64_t tokens = 0;            // trained on since the run began
    double tokens_per_second = 0;  // of this step, without the held-out loss
    double heldout_loss = 0;       // after the update; NaN when it was not measured
};

// The device that the options choose. On a GPU a resumed run adds in the same order only with the same algorithms for
// its matrix products, so the folder (which is created) keeps those.
std::unique_ptr<Device> open_training_device(const TrainOptions& options);

// All the memory that a Trainer will take, known before it takes any.
MemoryPlan training_plan(const TrainOptions& options, DType compute);

class Trainer {
  public:
    // Starts from `initial`, the flat arena of the model (empty: genesis weights of the seed), or resumes from the
    // folder's checkpoint when there is one; makes the folder one that load_model takes once a checkpoint is there.
    // Device and corpora outlive this object; heldout: null: there is none. Throws Error(input) when the training
    // tokens do not reach for the steps, Error(usage) when the checkpoint is of a run with other options or another
    // program is at work in the folder, Error(storage) or (device) when memory is short.
    Trainer(Device& device, const TrainOptions& options, const Corpus& train, const Corpus* heldout,
            std::vector<float> initial = {});

    // Until options.steps are done or `stop`; saves at the end what is not saved yet. Same bits whether or not it was
    // interrupted. Appends a line for each step to events.jsonl: numbers of 9 significant digits; of a step that is
    // there twice, because a kill came between it and its checkpoint, the later line counts.
    void run(const std::atomic<bool>& stop, const std::function<void(const TrainStep&)>& report);

    int64_t step() const { return step_; }
    std::vector<float> params() const { return params_.download(); }

  private:
    Tensor weights() const { return weights_ ? weights_.tensor() : params_.tensor(); }
    MeanLoss::Sum accumulate();
    TrainStep take_step();
    double heldout_loss();
    void log(const TrainStep& step);
    void save();
    void resume();
    void write_model_files() const;

    TrainOptions options_;
    Descriptor lock_;  // of the folder
    Device& device_;
    const Corpus& train_;
    std::string kept_;                              // options, for checkpoints
    std::vector<int64_t> heldout_starts_, starts_;  // first tokens of sequences
    DeviceArray params_, weights_, grads_;          // weights_: params_ in the compute type, empty where that is fp32
    std::unique_ptr<Optimizer> optimizer_;
    Llama model_;  // after all that does not grow with the batch: it says which batch fits into the rest
    MeanLoss loss_;
    std::optional<MeanLoss> heldout_loss_;
    EventLog events_;
    int64_t step_ = 0, saved_step_ = -1;  // -1: there is no checkpoint
};

}  // namespace templar
