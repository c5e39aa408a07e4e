#include "eval/session.h"

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t default_length = 2048;  // of models whose files do not say

RequestRules rules_of(const SavedModel& model, const Tokenizer& tokenizer, const SessionOptions& options) {
    RequestRules rules;
    const int64_t length = model.seq > 0 ? model.seq : default_length;
    if (options.length > length)
        fail(ExitCode::usage, "--length {}, but the model was trained for {} tokens at once", options.length, length);
    rules.length = options.length > 0 ? options.length : length;
    // The harness asks the tokenizer alone.
    for (const int32_t token : {tokenizer.begin_token(), tokenizer.end_token(), model.begin_token, model.end_token})
        if (rules.prefix < 0 && token >= 0 && token < model.config.vocab_size) rules.prefix = token;
    rules.bos = options.bos;
    return rules;
}

std::string hash_of(const SavedModel& model) {
    const LlamaConfig& c = model.config;
    const std::string shape =
        fmt::format("{} {} {} {} {} {} {} {:.9g} {:.9g} {}", c.vocab_size, c.hidden_size, c.intermediate_size, c.layers,
                    c.heads, c.kv_heads, c.head_dim, c.rms_norm_eps, c.rope_theta, c.tie_word_embeddings);
    const auto* bytes = reinterpret_cast<const uint8_t*>(model.params.data());
    return to_hex(Sha256().update(shape).update(ByteSpan(bytes, 4 * model.params.size())).finish());
}

// Of its tokens in order, whatever file they came from.
std::string hash_of(const Tokenizer& tokenizer) {
    Sha256 hash;
    hash.update_le(tokenizer.begin_token()).update_le(tokenizer.end_token());
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
        const std::string text = tokenizer.token_text(id);
        hash.update_le(std::ssize(text)).update(text);
    }
    return to_hex(hash.finish());
}

}  // namespace

Session::Session(const SavedModel& model, const Tokenizer& tokenizer, SessionOptions options)
    : model_(model), tokenizer_(tokenizer), options_(std::move(options)) {
    check_vocabulary(model, tokenizer.vocab_size());
    rules_ = rules_of(model, tokenizer, options_);
    plan();
    model_hash_ = hash_of(model);
    tokenizer_hash_ = hash_of(tokenizer);
}

std::filesystem::path Session::file_of(const Task& task) const {
    const auto chosen = options_.files.find(std::string(task.name));
    if (chosen != options_.files.end()) return chosen->second;
    if (options_.data.empty())
        fail(ExitCode::usage, "{}: expected --data FOLDER or --file {}=PATH", task.name, task.name);
    return find_data(task, options_.data);
}

void Session::plan() {
    for (const auto& [name, file] : options_.files) find_task(name);
    const bool all = std::ranges::count(options_.tasks, "all") > 0;
    std::vector<const Task*> tasks;
    if (all) {
        for (const Task& task : all_tasks()) tasks.push_back(&task);
    } else {
        for (const std::string& name : options_.tasks)
            if (std::ranges::count(tasks, &find_task(name)) == 0) tasks.push_back(&find_task(name));
    }
    for (const Task* task : tasks) {
        std::filesystem::path file;
        try {
            file = file_of(*task);
        } catch (const Error& error) {
            if (!all || error.code() != ExitCode::input) throw;
            skipped_.emplace_back(task->name);
            continue;
        }
        works_.push_back(plan_task(*task, file, options_.limit, tokenizer_, rules_));
    }
    for (const std::filesystem::path& text : options_.texts)
        works_.push_back(plan_text(text, options_.limit, options_.overlap, tokenizer_, rules_));
    if (!works_.empty()) return;
    if (all)
        fail(ExitCode::usage, "{} has the data of no task; docs/evaluation.md says where to get it",
             options_.data.string());
    fail(ExitCode::usage, "nothing to do: expected --tasks or --text");
}

std::string Session::description() const {
    const std::string prefix = rules_.prefix < 0 ? "nothing" : tokenizer_.decode({rules_.prefix});
    return fmt::format("{}: {} parameters, {} tokens at once; {} begin with {}", model_.origin,
                       std::ssize(model_.params), rules_.length, rules_.bos ? "contexts" : "empty contexts", prefix);
}

// What every log-likelihood depends on.
nlohmann::json Session::header(const Device& device) const {
    return {{"model", model_hash_}, {"tokenizer", tokenizer_hash_}, {"length", rules_.length},
            {"bos", rules_.bos},    {"prefix", rules_.prefix},      {"compute", name_of(device.compute_type())}};
}

std::vector<Result> Session::run(Device& device, const Progress& progress) {
    device_ = device.description();
    compute_ = name_of(device.compute_type());
    RowsFile rows(options_.rows, header(device));
    Scorer scorer(device, model_.config, model_.params, longest_input(works_), options_.batch_tokens);
    std::vector<Result> results;
    for (const Workload& work : works_) {
        const ItemScores scores =
            answer(work, scorer, rows, [&](const Answered& answered) { return progress(work, answered); });
        results.push_back(summarize(work, scores));
    }
    return results;
}

nlohmann::json Session::report(std::span<const Result> results, std::string_view program) const {
    nlohmann::json report = {
        {"program", program},
        {"rules", "lm-eval 0.4.9, zero-shot"},
        {"model",
         {{"origin", model_.origin},
          {"sha256", model_hash_},
          {"parameters", std::ssize(model_.params)},
          {"length", model_.seq}}},
        {"tokenizer",
         {{"path", model_.tokenizer.string()}, {"sha256", tokenizer_hash_}, {"vocab_size", tokenizer_.vocab_size()}}},
        {"options",
         {{"length", rules_.length},
          {"bos", rules_.bos},
          {"prefix", rules_.prefix},
          {"limit", options_.limit},
          {"overlap", options_.overlap},
          {"batch_tokens", options_.batch_tokens},
          {"device", device_},
          {"compute", compute_}}}};
    for (size_t k = 0; k < results.size(); ++k) {
        nlohmann::json result = to_json(results[k]);
        result["file"] = works_[k].file.path.string();
        result["sha256"] = to_hex(works_[k].file.hash);
        if (works_[k].task) result["version"] = works_[k].task->version;
        report["results"][results[k].name] = std::move(result);
    }
    return report;
}

}  // namespace templar
