#include "node/trainer.h"

#include "base/error.h"
#include "base/file.h"
#include "engine/model/memory.h"
#include "node/folder_lock.h"
#include "tokenizer/tokenizer.h"
#include "weights/checkpoint.h"
#include "weights/huggingface.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace templar {

namespace {

constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

std::filesystem::path prepared(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());
    return folder;
}

int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// Nine significant digits, which tell any two fp32 numbers apart; null for what is not a number.
nlohmann::json digits(double value) {
    if (!std::isfinite(value)) return nullptr;
    return std::strtod(fmt::format("{:.9g}", value).c_str(), nullptr);
}

std::vector<float> first_weights(const TrainOptions& options, std::vector<float> initial) {
    if (initial.empty()) return genesis_weights(options.model, options.seed);
    if (std::ssize(initial) != parameter_count(options.model))
        fail(ExitCode::input, "{} weights to begin with, expected {} for this shape", initial.size(),
             parameter_count(options.model));
    return initial;
}

Digest digest_of(const std::vector<float>& values) {
    if (values.empty()) return {};
    return sha256({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
}

// Before anything is allocated: everything at once, so that the advice is about a batch that really fits.
const TrainOptions& fitting(const Device& device, const TrainOptions& options) {
    const auto bytes_for = [&](int64_t batch) {
        TrainOptions other = options;
        other.micro_batch = batch;
        const MemoryPlan plan = training_plan(other, device.compute_type());
        return plan.fixed_bytes() + plan.activation_bytes;
    };
    require_memory(device, bytes_for(options.micro_batch), options.micro_batch, bytes_for);
    return options;
}

std::vector<int64_t> spread_starts(const Corpus* corpus, const TrainOptions& options) {
    std::vector<int64_t> starts;
    if (!corpus || options.eval_steps == 0) return starts;
    const int64_t count = options.eval_sequences == 0 ? corpus->tokens() : options.eval_sequences;
    for (const SequenceId& id : spread_sequences(*corpus, options.seq, count)) starts.push_back(id.page * options.seq);
    return starts;
}

void require_tokens(const Corpus& train, const TrainOptions& o) {
    if (o.order == DataOrder::random || o.steps == 0) return;
    // In floating point, which cannot overflow.
    const double end =
        static_cast<double>(o.offset) + static_cast<double>(o.steps - 1) * static_cast<double>(o.stride) +
        static_cast<double>(o.rows() - 1) * static_cast<double>(o.row_stride) + static_cast<double>(o.seq) + 1;
    if (end > static_cast<double>(train.tokens()))
        fail(ExitCode::input,
             "{} steps from token {} on, {} tokens apart, read up to token {:.0f}, but there are {}: use fewer "
             "--steps, or a "
             "smaller --offset or --stride",
             o.steps, o.offset, o.stride, end, train.tokens());
}

}  // namespace

std::unique_ptr<Device> open_training_device(const TrainOptions& options) {
    DeviceChoice choice = options.device;
    choice.matmul_plans = (prepared(options.folder) / "matmul-plans.txt").string();
    return open_device(choice);
}

MemoryPlan training_plan(const TrainOptions& options, DType compute) {
    MemoryPlan plan = Llama::dry_run(options.model, options.micro_batch, options.seq, Pass::training, compute);
    plan.optimizer_bytes = optimizer_arrays(options) * plan.parameter_count * bytes_of(DType::f32);
    return plan;
}

Trainer::Trainer(Device& device, const TrainOptions& options, const Corpus& train, const Corpus* heldout,
                 std::vector<float> initial)
    : options_(fitting(device, options)),
      lock_(lock_folder(prepared(options.folder))),
      device_(device),
      train_(train),
      kept_(kept_options(options, device.compute_type(), digest_of(initial))),
      heldout_starts_(spread_starts(heldout, options)),
      params_(device, first_weights(options, std::move(initial))),
      weights_(device, device.compute_type(), device.compute_type() == DType::f32 ? 0 : params_.size()),
      grads_(device, DType::f32, params_.size()),
      optimizer_(make_optimizer(device, options)),
      model_(device, options.model, options.micro_batch, options.seq, Pass::training),
      loss_(model_, train, {1, options.seq}, options.end_token),
      events_(options.folder / "events.jsonl") {
    require_tokens(train, options);
    if (!heldout_starts_.empty())
        heldout_loss_.emplace(model_, *heldout, PageShape{1, options.seq}, options.heldout_end_token);
    resume();
    if (weights_) device.ops().round_weights(device.stream(), weights_.tensor(), params_.tensor());
    write_model_files();
}

void Trainer::resume() {
    std::optional<Checkpoint> saved = load_checkpoint(options_.folder, params_.size());
    if (!saved) return;
    const std::string what = (options_.folder / "checkpoint.safetensors").string();
    require_same_past(saved->extra, kept_, saved->step, what);
    const std::vector<DeviceArray*> state = optimizer_->state();
    const size_t count = saved->theta.size();
    if (saved->momentum.size() != state.size() * count)
        fail(ExitCode::input, "{}: momentum: expected {} values of the optimiser's state, found {}", what,
             state.size() * count, saved->momentum.size());
    step_ = saved_step_ = saved->step;
    params_.upload(saved->theta);
    for (size_t i = 0; i < state.size(); ++i)
        state[i]->upload(std::span(std::as_const(saved->momentum)).subspan(i * count, count));
    optimizer_->steps() = step_;
}

void Trainer::save() {
    Checkpoint checkpoint;
    checkpoint.step = step_;
    checkpoint.extra = kept_;
    checkpoint.theta = params_.download();
    const std::vector<DeviceArray*> state = optimizer_->state();
    const size_t count = checkpoint.theta.size();
    checkpoint.momentum.resize(state.size() * count);
    for (size_t i = 0; i < state.size(); ++i)
        state[i]->download(std::span(checkpoint.momentum).subspan(i * count, count));
    save_checkpoint(options_.folder, checkpoint);
    saved_step_ = step_;
}

// With a checkpoint beside them, load_model takes the folder.
void Trainer::write_model_files() const {
    const HuggingFaceConfig config{.model = options_.model,
                                   .seq = std::max(options_.max_positions, options_.seq),
                                   .begin_token = options_.begin_id,
                                   .end_token = options_.end_id};
    write_file(options_.folder / "config.json", as_bytes(config_to_json(config, DType::f32)));
    if (options_.tokenizer.empty()) return;
    const std::filesystem::path copy = options_.folder / "tokenizer.json";
    const std::filesystem::path inside = options_.tokenizer / "tokenizer.json";
    const std::filesystem::path from = std::filesystem::exists(inside) ? inside : options_.tokenizer;
    if (from.filename() == "tokenizer.json")
        write_file(copy, read_file(from, 256 << 20));
    else
        load_tokenizer(from)->save(copy);
}

MeanLoss::Sum Trainer::accumulate() {
    const int64_t rows = options_.rows();
    starts_.clear();
    if (options_.order == DataOrder::sequential) {
        for (int64_t row = 0; row < rows; ++row)
            starts_.push_back(options_.offset + step_ * options_.stride + row * options_.row_stride);
    } else {
        // Drawn by a generator keyed by (seed, step): a resumed run sees the same ones.
        CounterRng rng(Sha256().update("train").update_le(options_.seed).update_le(step_).finish());
        const auto pages = static_cast<uint64_t>(page_count(train_, {1, options_.seq}));
        for (int64_t row = 0; row < rows; ++row)
            starts_.push_back(static_cast<int64_t>(rng.below(pages)) * options_.seq);
    }
    grads_.fill_zero();
    return loss_.with_gradient_at(weights(), starts_, grads_.tensor());
}

TrainStep Trainer::take_step() {
    const auto started = std::chrono::steady_clock::now();
    TrainStep result;
    const MeanLoss::Sum sum = accumulate();
    const auto counted = static_cast<double>(std::max<int64_t>(sum.counted, 1));
    result.loss = sum.loss / counted;
    if (!std::isfinite(result.loss))
        fail(ExitCode::input,
             "step {}: the loss is not finite; use a smaller --learning-rate and another --folder, from the start or "
             "with --model {} from the last checkpoint",
             step_ + 1, options_.folder.string());
    const float rate = learning_rate(options_.schedule, step_);
    result.learning_rate = rate;
    result.grad_norm = optimizer_->step(params_.tensor(), weights_ ? weights_.tensor() : Tensor(), grads_.tensor(),
                                        rate, static_cast<float>(1.0 / counted));
    result.step = ++step_;
    result.tokens = step_ * options_.step_tokens();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    result.tokens_per_second = static_cast<double>(options_.step_tokens()) / seconds;
    return result;
}

double Trainer::heldout_loss() {
    const bool due = options_.eval_steps > 0 && (step_ % options_.eval_steps == 0 || step_ == options_.steps);
    return heldout_loss_ && due ? heldout_loss_->at(weights(), heldout_starts_) : not_measured;
}

void Trainer::log(const TrainStep& step) {
    events_.write(now_ms(), "step",
                  {{"step", step.step},
                   {"loss", digits(step.loss)},
                   {"grad_norm", digits(step.grad_norm)},
                   {"lr", digits(step.learning_rate)},
                   {"tokens", step.tokens},
                   {"tokens_per_second", digits(step.tokens_per_second)},
                   {"heldout_loss", digits(step.heldout_loss)}});
}

void Trainer::run(const std::atomic<bool>& stop, const std::function<void(const TrainStep&)>& report) {
    events_.write(now_ms(), "start",
                  {{"role", "train"},
                   {"step", step_},
                   {"steps", options_.steps},
                   {"parameters", params_.size()},
                   {"step_tokens", options_.step_tokens()},
                   {"origin", options_.origin},
                   {"device", device_.description()},
                   {"options", nlohmann::json::parse(kept_)}});
    if (step_ == 0 && heldout_loss_) {
        const TrainStep before{.loss = not_measured,
                               .grad_norm = not_measured,
                               .learning_rate = not_measured,
                               .tokens_per_second = not_measured,
                               .heldout_loss = heldout_loss()};
        log(before);
        report(before);
    }
    while (step_ < options_.steps && !stop) {
        TrainStep step = take_step();
        step.heldout_loss = heldout_loss();
        log(step);
        report(step);
        if (step_ % options_.checkpoint_steps == 0) save();
    }
    if (saved_step_ != step_) save();
    events_.write(now_ms(), "stop", {{"step", step_}});
}

}  // namespace templar
