#include "node/trainer.h"

#include "base/error.h"
#include "weights/checkpoint.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace templar {

namespace {

std::filesystem::path prepared(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());
    return folder;
}

int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// On a GPU a resumed run adds in the same order only with the same algorithms for its matrix products.
DeviceChoice with_kept_plans(const TrainOptions& options) {
    DeviceChoice choice = options.device;
    choice.matmul_plans = (prepared(options.folder) / "matmul-plans.txt").string();
    return choice;
}

}  // namespace

Trainer::Trainer(const TrainOptions& options, const Corpus& train, const Corpus& heldout)
    : options_(options),
      train_(train),
      heldout_ids_(spread_sequences(heldout, options.seq, options.eval_sequences)),
      device_(open_device(with_kept_plans(options))),
      params_(*device_, genesis_weights(options.model, options.seed)),
      weights_(*device_, device_->compute_type(), device_->compute_type() == DType::f32 ? 0 : params_.size()),
      grads_(*device_, DType::f32, params_.size()),
      optimizer_(*device_, llama_parameters(options.model), options.adamw),
      model_(*device_, options.model, options.micro_batch, options.seq, Pass::training),
      loss_(model_, train, {1, options.seq}, options.end_token),
      heldout_loss_(model_, heldout, {1, options.seq}, options.end_token),
      events_(options.folder / "events.jsonl") {
    resume();
    if (!weights_) return;
    device_->ops().round_weights(device_->stream(), weights_.tensor(), params_.tensor());
}

void Trainer::resume() {
    std::optional<Checkpoint> saved = load_checkpoint(options_.folder, params_.size());
    if (!saved) return;
    if (std::ssize(saved->momentum) != 2 * params_.size())
        fail(ExitCode::input, "{}: not a checkpoint of this program (AdamW moments: {} values, expected {})",
             options_.folder.string(), saved->momentum.size(), 2 * params_.size());
    step_ = saved->step;
    params_.upload(saved->theta);
    const std::span<const float> moments = saved->momentum;
    optimizer_.m().upload(moments.first(saved->theta.size()));
    optimizer_.v().upload(moments.subspan(saved->theta.size()));
    optimizer_.steps() = step_;
}

void Trainer::save() {
    Checkpoint checkpoint;
    checkpoint.step = step_;
    checkpoint.theta = params_.download();
    const size_t count = checkpoint.theta.size();
    checkpoint.momentum.resize(2 * count);
    optimizer_.m().download(std::span(checkpoint.momentum).first(count));
    optimizer_.v().download(std::span(checkpoint.momentum).subspan(count));
    save_checkpoint(options_.folder, checkpoint);
}

// Sequences of step s are drawn by a generator keyed by (seed, s): a resumed run sees the same ones.
MeanLoss::Sum Trainer::accumulate() {
    CounterRng rng(Sha256().update("train").update_le(options_.seed).update_le(step_).finish());
    const auto pages = static_cast<uint64_t>(page_count(train_, {1, options_.seq}));
    std::vector<SequenceId> sequences;
    for (int64_t i = 0; i < options_.micro_batches * options_.micro_batch; ++i)
        sequences.push_back({static_cast<int64_t>(rng.below(pages)), 0});
    grads_.fill_zero();
    return loss_.with_gradient(weights(), sequences, grads_.tensor());
}

void Trainer::run(const std::atomic<bool>& stop, const std::function<void(const TrainStep&)>& report) {
    while (step_ < options_.steps && !stop) {
        const auto started = std::chrono::steady_clock::now();
        TrainStep result{};
        const MeanLoss::Sum sum = accumulate();
        const auto counted = static_cast<double>(std::max<int64_t>(sum.counted, 1));
        result.loss = sum.loss / counted;
        if (!std::isfinite(result.loss))
            fail(ExitCode::input,
                 "step {}: the loss is not finite; use a smaller --learning-rate and start from the last "
                 "checkpoint",
                 step_ + 1);
        result.grad_norm = optimizer_.step(params_.tensor(), weights_ ? weights_.tensor() : Tensor(), grads_.tensor(),
                                           learning_rate(options_.schedule, step_), static_cast<float>(1.0 / counted));
        result.step = ++step_;
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
        result.tokens_per_second =
            static_cast<double>(options_.micro_batches * options_.micro_batch * options_.seq) / seconds;
        const bool last = step_ == options_.steps;
        result.heldout_loss = options_.eval_steps > 0 && (step_ % options_.eval_steps == 0 || last)
                                  ? heldout_loss_(weights(), heldout_ids_)
                                  : std::numeric_limits<double>::quiet_NaN();
        events_.write(
            now_ms(), "step",
            {{"step", step_},
             {"loss", result.loss},
             {"grad_norm", result.grad_norm},
             {"tokens_per_second", result.tokens_per_second},
             {"heldout_loss",
              std::isnan(result.heldout_loss) ? nlohmann::json() : nlohmann::json(result.heldout_loss)}});
        report(result);
        if (step_ % options_.checkpoint_steps == 0 && !last) save();
    }
    save();
}

}  // namespace templar
