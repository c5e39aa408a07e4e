#include "node/train_options.h"

#include "base/error.h"
#include "base/strict_json.h"
#include "engine/optim/adamw.h"
#include "engine/optim/sgd.h"

#include <nlohmann/json.hpp>

#include <array>

namespace templar {

namespace {

constexpr int64_t most = int64_t{1} << 53;

struct Kept {
    TrainOptions options;
    std::string dtype;
    Digest first_weights{};
};

void describe(JsonFields& f, LlamaConfig& model) {
    f.integer("vocab_size", model.vocab_size, 1, most);
    f.integer("hidden_size", model.hidden_size, 1, most);
    f.integer("intermediate_size", model.intermediate_size, 1, most);
    f.integer("layers", model.layers, 1, most);
    f.integer("heads", model.heads, 1, most);
    f.integer("kv_heads", model.kv_heads, 1, most);
    f.integer("head_dim", model.head_dim, 1, most);
    f.number("rms_norm_eps", model.rms_norm_eps, 0, 1);
    f.number("rope_theta", model.rope_theta, 0, any_double);
    f.boolean("tie_word_embeddings", model.tie_word_embeddings);
}

// Keys are the names of the command line's options, with _ for -, where there is one.
void describe(JsonFields& f, Kept& kept) {
    TrainOptions& o = kept.options;
    auto seed = static_cast<int64_t>(o.seed);
    f.object("model", [&](JsonFields& g) { describe(g, o.model); });
    f.digest("first_weights", kept.first_weights);
    f.integer("seed", seed, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
    o.seed = static_cast<uint64_t>(seed);
    f.integer("seq", o.seq, 1, most);
    f.integer("batch", o.micro_batch, 1, most);
    f.integer("micro_batches", o.micro_batches, 1, most);
    f.text("dtype", kept.dtype, 16);

    f.digest("data", o.data);
    f.choice("order", o.order, std::array<std::string_view, 2>{"random", "sequential"});
    f.integer("offset", o.offset, 0, most);
    f.integer("stride", o.stride, 0, most);
    f.integer("row_stride", o.row_stride, 0, most);
    f.integer("end_token", o.end_token, -1, INT32_MAX);

    f.choice("optimizer", o.optimizer, std::array<std::string_view, 2>{"adamw", "sgd"});
    f.number("beta1", o.beta1, 0, 1);
    f.number("beta2", o.beta2, 0, 1);
    f.number("eps", o.eps, 0, any_double);
    f.number("momentum", o.momentum, 0, 1);
    f.number("weight_decay", o.weight_decay, 0, any_double);
    f.choice("decay", o.decay_on, std::array<std::string_view, 3>{"matrices", "all", "none"});
    f.number("clip", o.clip, 0, any_double);

    f.choice("schedule", o.schedule.decline, std::array<std::string_view, 3>{"constant", "cosine", "wsd"});
    f.number("learning_rate", o.schedule.peak, 0, any_double);
    f.number("warmup_start", o.schedule.start_share, 0, 1);
    f.number("floor", o.schedule.floor_share, 0, 1);
    f.integer("warmup_steps", o.schedule.warmup_steps, 0, most);
    f.integer("decay_begin", o.schedule.decay_begin, 0, most);
    f.integer("decay_steps", o.schedule.decay_steps, 0, most);
}

Kept read_kept(std::string_view text, std::string_view what) {
    Kept kept;
    read_json(text, what, [&](JsonFields& f) { describe(f, kept); });
    return kept;
}

bool same_past(const TrainSchedule& a, const TrainSchedule& b, int64_t step) {
    if (a == b) return true;
    for (int64_t s = 0; s < step; ++s)
        if (learning_rate(a, s) != learning_rate(b, s)) return false;
    return true;
}

// What a user would type to change a key's value.
std::string flag_of(const std::string& key) {
    if (key == "model") return "the model's shape (--preset, --config, --model)";
    if (key == "first_weights") return "the weights to begin with (--model)";
    if (key == "data" || key == "end_token") return "the data (--data, --tokens)";
    if (key == "order") return "the kind of data (--data, --tokens)";
    if (key == "decay_begin") return "where the learning rate begins to fall (--steps, --decay-steps)";
    std::string flag = "--" + key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
}

// The first of the keys in which the two differ; "" when they do not.
std::string differing_key(const nlohmann::json& a, const nlohmann::json& b) {
    // What explains most comes first: another model has other first weights too.
    for (const char* key : {"model", "seed", "data", "order", "optimizer", "schedule", "learning_rate"})
        if (a.at(key) != b.at(key)) return key;
    for (const auto& [key, value] : a.items())
        if (b.at(key) != value) return key;
    return "";
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(Device& device, const TrainOptions& o) {
    const std::vector<Parameter> parameters = llama_parameters(o.model);
    const float decay = o.decay_on == DecayOn::none ? 0.0f : o.weight_decay;
    const bool decay_1d = o.decay_on == DecayOn::all;
    if (o.optimizer == OptimizerKind::sgd)
        return std::make_unique<Sgd>(
            device, parameters,
            SgdOptions{.momentum = o.momentum, .weight_decay = decay, .clip = o.clip, .decay_1d = decay_1d});
    return std::make_unique<AdamW>(device, parameters,
                                   AdamWOptions{.beta1 = o.beta1,
                                                .beta2 = o.beta2,
                                                .eps = o.eps,
                                                .weight_decay = decay,
                                                .clip = o.clip,
                                                .decay_1d = decay_1d});
}

int64_t optimizer_arrays(const TrainOptions& options) {
    if (options.optimizer == OptimizerKind::adamw) return 2;
    return options.momentum == 0 ? 0 : 1;
}

std::string kept_options(const TrainOptions& options, DType compute, const Digest& first_weights) {
    Kept kept{options, name_of(compute), first_weights};
    // What the chosen optimiser and order do not use may be anything.
    const TrainOptions unused;
    TrainOptions& o = kept.options;
    if (o.optimizer == OptimizerKind::adamw) o.momentum = unused.momentum;
    if (o.optimizer == OptimizerKind::sgd) o.beta1 = unused.beta1, o.beta2 = unused.beta2, o.eps = unused.eps;
    if (o.order == DataOrder::random) o.offset = o.stride = o.row_stride = 0;
    return write_json("options", [&](JsonFields& f) { describe(f, kept); });
}

void require_same_past(std::string_view kept, std::string_view now, int64_t step, std::string_view what) {
    if (kept.empty())
        fail(ExitCode::input,
             "{}: says nothing of the options it was made with: it is not train's, or an older version's; remove it to "
             "start anew",
             what);
    Kept before = read_kept(kept, fmt::format("{}: options", what));
    const Kept after = read_kept(now, "options");
    if (same_past(before.options.schedule, after.options.schedule, step))
        before.options.schedule = after.options.schedule;
    const auto before_json = nlohmann::json::parse(write_json("options", [&](JsonFields& f) { describe(f, before); }));
    const auto after_json = nlohmann::json::parse(now);
    const std::string key = differing_key(before_json, after_json);
    if (key.empty()) return;
    const std::string values =
        key == "model" || key == "first_weights" || key == "data" || key == "order"
            ? ""
            : fmt::format(": {} then, {} now", before_json.at(key).dump(), after_json.at(key).dump());
    fail(
        ExitCode::usage,
        "{} is of a run with other options: {} differs{}. Give the same to go on after step {}, or another --folder to "
        "start anew",
        what, flag_of(key), values, step);
}

}  // namespace templar
