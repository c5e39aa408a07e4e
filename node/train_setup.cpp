#include "node/train_setup.h"

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/shards.h"
#include "weights/checkpoint.h"
#include "weights/huggingface.h"
#include "weights/presets.h"
#include "weights/saved_model.h"

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t longest_default_seq = 2048;  // a model may say that it can do 131,072

// The training data as files say it.
struct Data {
    explicit Data(Corpus corpus) : train(std::move(corpus)) {}
    Corpus train;
    std::optional<Corpus> heldout;
    Digest name{};
    int64_t vocab_size = 0;  // 0: the files do not say
    int32_t end_token = -1, heldout_end_token = -1;
    std::filesystem::path tokenizer;
};

Data open_shards(const std::filesystem::path& folder) {
    const std::filesystem::path manifest_path = folder / "manifest.json";
    if (!std::filesystem::exists(manifest_path))
        fail(ExitCode::input, "{} has no manifest.json; make token shards with: tokenize encode --out {} …",
             folder.string(), folder.string());
    const Manifest manifest = manifest_from_json(read_text_file(manifest_path, 16 << 20), manifest_path.string());
    check_shards(manifest, folder);
    std::vector<std::filesystem::path> train, heldout;
    Sha256 name;
    for (const ShardInfo& shard : manifest.shards) {
        (shard.split == "train" ? train : heldout).push_back(folder / shard.file);
        if (shard.split == "train") name.update(shard.hash);
    }
    Data data{Corpus(train)};
    if (!heldout.empty()) data.heldout.emplace(heldout);
    data.name = name.finish();
    data.vocab_size = manifest.vocab_size;
    data.end_token = data.heldout_end_token = manifest.end_token;
    if (std::filesystem::exists(folder / "tokenizer.json")) data.tokenizer = folder / "tokenizer.json";
    return data;
}

Data open_tokens(const std::filesystem::path& path, int bytes_per_token) {
    Data data{Corpus::raw(path, bytes_per_token)};
    data.name = sha256(MappedFile(path).bytes());
    return data;
}

Data open_data(const TrainRequest& r) {
    if (r.data.empty() == r.tokens.empty())
        fail(ExitCode::usage,
             "expected one of --data FOLDER (token shards) and --tokens FILE (nothing but ids), found {}",
             r.data.empty() ? "neither" : "both");
    if (r.tokens.empty() && (r.stride || r.row_stride || r.options.offset != 0))
        fail(ExitCode::usage,
             "--offset, --stride and --row-stride are for --tokens: sequences of --data are drawn at random");
    Data data = r.tokens.empty() ? open_shards(r.data) : open_tokens(r.tokens, r.token_bytes);
    if (!r.heldout_tokens.empty()) {
        data.heldout = Corpus::raw(r.heldout_tokens, r.token_bytes);
        data.heldout_end_token = -1;
    }
    return data;
}

// The same ids must mean the same text. A few may differ: files spell special tokens in more ways than one.
void require_same_tokenizer(const std::filesystem::path& data_path, const std::filesystem::path& model_path) {
    const auto of_data = load_tokenizer(data_path), of_model = load_tokenizer(model_path);
    const int64_t size = of_data->vocab_size();
    if (size != of_model->vocab_size())
        fail(ExitCode::input,
             "{} has {} tokens, the model's {} has {}: encode the data with the model's tokenizer: tokenize encode "
             "--tokenizer {} …",
             data_path.string(), size, model_path.string(), of_model->vocab_size(), model_path.string());
    int64_t differing = 0, first = -1;
    for (int64_t id = 0; id < size; ++id)
        if (of_data->token_text(static_cast<int32_t>(id)) != of_model->token_text(static_cast<int32_t>(id)) &&
            differing++ == 0)
            first = id;
    if (differing > std::max<int64_t>(8, size / 100))
        fail(ExitCode::input,
             "{} and the model's {} differ in {} of {} tokens, first in id {}: encode the data with the model's "
             "tokenizer: "
             "tokenize encode --tokenizer {} …",
             data_path.string(), model_path.string(), differing, size, first, model_path.string());
}

void require_same_vocabulary(const Data& data, const SavedModel& model) {
    // First, for it says what to do.
    if (!model.tokenizer.empty() && !data.tokenizer.empty()) require_same_tokenizer(data.tokenizer, model.tokenizer);
    if (data.vocab_size > 0) check_vocabulary(model, data.vocab_size);
}

// A Hugging Face directory's config.json would be written over, and its weights never be read again.
void check_folder(const std::filesystem::path& folder) {
    if (std::filesystem::exists(folder / checkpoint_file)) return;
    for (const char* file : {"model.safetensors", "model.safetensors.index.json"})
        if (std::filesystem::exists(folder / file))
            fail(ExitCode::usage,
                 "--folder {} holds a model already ({}): name a new folder; to go on from it: --model {}",
                 folder.string(), file, folder.string());
}

// Else the folder would be one that generate and export refuse.
void check_given_tokenizer(const std::filesystem::path& tokenizer, const TrainOptions& o) {
    const int64_t rows = o.model.vocab_size, tokens = load_tokenizer(tokenizer)->vocab_size();
    if (!goes_with(rows, tokens))
        fail(ExitCode::input,
             "--tokenizer {} has {} tokens, but the model's vocabulary {}: they do not belong together; give the tokenizer "
             "that the data was encoded with",
             tokenizer.string(), tokens, rows);
}

void start_from_model(const TrainRequest& r, const Data& data, TrainInputs& inputs) {
    if (std::error_code error; std::filesystem::equivalent(r.model, r.options.folder, error))
        fail(ExitCode::usage, "--folder is --model, {}: name a new folder; the model's stays as it is",
             r.model.string());
    SavedModel model = load_model(r.model);
    require_same_vocabulary(data, model);
    TrainOptions& o = inputs.options;
    o.model = model.config;
    o.max_positions = model.seq;
    o.begin_id = model.begin_token, o.end_id = model.end_token;
    o.origin = model.origin;
    if (o.seq == 0) o.seq = std::min(model.seq > 0 ? model.seq : longest_default_seq, longest_default_seq);
    o.tokenizer = model.tokenizer.empty() ? data.tokenizer : model.tokenizer;
    inputs.initial = std::move(model.params);
}

void start_from_shape(const TrainRequest& r, const Data& data, TrainOptions& o) {
    if (!r.config.empty()) {
        const HuggingFaceConfig config = config_from_json(read_text_file(r.config, 1 << 20), r.config.string());
        o.model = config.model;
        o.max_positions = config.seq;
        o.begin_id = config.begin_token, o.end_id = config.end_token;
        o.origin = fmt::format("genesis weights of the shape {}", r.config.string());
        if (o.seq == 0) o.seq = std::min(config.seq, longest_default_seq);
        if (data.vocab_size > o.model.vocab_size)
            fail(ExitCode::input,
                 "{} was encoded with {} tokens, {} says vocab_size {}: correct that, or encode the data anew",
                 r.data.string(), data.vocab_size, r.config.string(), o.model.vocab_size);
    } else {
        const Preset& shape = find_preset(r.preset.empty() ? "demo" : r.preset);
        o.model = shape.model;
        if (data.vocab_size > 0) o.model.vocab_size = data.vocab_size;
        o.end_id = data.end_token;
        o.origin = fmt::format("genesis weights of the preset {}", shape.name);
        if (o.seq == 0) o.seq = shape.seq;
    }
    o.tokenizer = data.tokenizer;
}

}  // namespace

TrainSchedule train_schedule(const TrainRequest& r) {
    const int64_t steps = r.options.steps;
    TrainSchedule schedule{.decline = r.schedule,
                           .peak = r.learning_rate,
                           .start_share = r.warmup_start.value_or(r.floor),
                           .floor_share = r.floor};
    const bool constant = r.schedule == Decline::constant;
    schedule.warmup_steps = r.warmup_steps.value_or(constant ? 0 : std::max<int64_t>(1, steps / 20));
    if (constant) {
        if (r.decay_steps)
            fail(ExitCode::usage, "--decay-steps is for --schedule cosine or wsd: a constant rate never falls");
        schedule.decay_steps = 0;
        return schedule;
    }
    const bool cosine = r.schedule == Decline::cosine;
    schedule.decay_steps = r.decay_steps.value_or(std::max<int64_t>(1, cosine ? steps - steps / 20 : steps / 5));
    if (cosine && r.warmup_steps && !r.decay_steps)
        schedule.decay_steps = std::max<int64_t>(1, steps - schedule.warmup_steps);
    schedule.decay_begin = cosine ? schedule.warmup_steps : steps - schedule.decay_steps;
    if (schedule.decay_begin < schedule.warmup_steps && steps > 0)
        fail(ExitCode::usage,
             "{} warm-up steps and {} decay steps are more than the {} of the run; use fewer of --warmup-steps "
             "or --decay-steps",
             schedule.warmup_steps, schedule.decay_steps, steps);
    schedule.decay_begin = std::max<int64_t>(schedule.decay_begin, 0);
    return schedule;
}

TrainInputs prepare_training(const TrainRequest& r) {
    if (!r.preset.empty() + !r.config.empty() + !r.model.empty() > 1)
        fail(ExitCode::usage, "expected at most one of --preset, --config and --model");
    check_folder(r.options.folder);
    Data data = open_data(r);
    TrainInputs inputs{
        .options = r.options, .initial = {}, .train = std::move(data.train), .heldout = std::move(data.heldout)};
    TrainOptions& o = inputs.options;
    if (r.model.empty())
        start_from_shape(r, data, o);
    else
        start_from_model(r, data, inputs);
    if (!r.tokenizer.empty()) {
        check_given_tokenizer(r.tokenizer, o);
        o.tokenizer = r.tokenizer;
    }
    o.data = data.name;
    o.end_token = data.end_token, o.heldout_end_token = data.heldout_end_token;
    o.weight_decay = r.weight_decay.value_or(o.optimizer == OptimizerKind::adamw ? 0.1 : 0.0);
    o.schedule = train_schedule(r);
    if (!r.tokens.empty()) {
        o.order = DataOrder::sequential;
        o.row_stride = r.row_stride.value_or(o.seq + 1);
        o.stride = r.stride.value_or(o.rows() * o.row_stride);
        inputs.train.check_vocabulary(o.model.vocab_size, r.tokens.string());
    }
    if (!r.heldout_tokens.empty()) inputs.heldout->check_vocabulary(o.model.vocab_size, r.heldout_tokens.string());
    return inputs;
}

}  // namespace templar
