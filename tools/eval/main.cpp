// eval: how well a model answers the usual benchmarks, without being shown examples.
#include "base/file.h"
#include "eval/session.h"
#include "tools/device_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <memory>

using namespace templar;

namespace {

struct Flags {
    std::filesystem::path model, tokenizer, out;
    std::vector<std::string> files;  // TASK=PATH
    SessionOptions session;
    DeviceChoice device;
    int run();
};

std::map<std::string, std::filesystem::path> by_task(const std::vector<std::string>& pairs) {
    std::map<std::string, std::filesystem::path> files;
    for (const std::string& pair : pairs) {
        const size_t equals = pair.find('=');
        if (equals == pair.npos) fail(ExitCode::usage, "--file {}: expected TASK=PATH", pair);
        files[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    return files;
}

// Tokens per second and time left, for one benchmark after the other. Rows would not do: the longest come first.
class Meter {
  public:
    bool update(const Workload& work, const Answered& answered) {
        if (&work != work_) {
            work_ = &work;
            all_ = everything(work);
            const auto already = static_cast<double>(answered.tokens);  // from an earlier, interrupted evaluation
            progress_ = std::make_unique<Progress>(work.name, "tokens", static_cast<double>(all_.tokens), already);
        }
        progress_->update(static_cast<double>(answered.tokens), static_cast<double>(all_.tokens),
                          fmt::format("  {} of {} {}", answered.items, all_.items, work.task ? "rows" : "windows"));
        return !stop_requested();
    }

  private:
    const Workload* work_ = nullptr;
    Answered all_;
    std::unique_ptr<Progress> progress_;
};

// Found out before hours of work, not after.
void check_folder_of(const std::filesystem::path& file) {
    const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
    if (!std::filesystem::is_directory(folder))
        fail(ExitCode::storage, "--out {}: there is no folder {}", file.string(), folder.string());
}

int Flags::run() {
    session.files = by_task(files);
    if (!out.empty()) check_folder_of(out);
    SavedModel saved = load_model(model);
    if (!tokenizer.empty()) saved.tokenizer = tokenizer;
    if (saved.tokenizer.empty())
        fail(ExitCode::input, "{} has no tokenizer beside the weights: name one with --tokenizer", model.string());
    const auto vocabulary = load_tokenizer(saved.tokenizer);
    Session evaluation(saved, *vocabulary, session);
    fmt::print(stderr, "{}\n", evaluation.description());
    for (const std::string& task : evaluation.skipped()) fmt::print(stderr, "{}: no data, left out\n", task);

    const auto computer = open_device(device);
    const auto started = std::chrono::steady_clock::now();
    std::vector<Result> results;
    try {
        Meter meter;
        results = evaluation.run(
            *computer, [&](const Workload& work, const Answered& answered) { return meter.update(work, answered); });
    } catch (const Error& error) {
        if (error.code() != ExitCode::interrupted) throw;
        fail(error.code(), "{}; {}", error.what(),
             session.rows.empty() ? "nothing is kept without --rows" : "the same command goes on");
    }
    fmt::print(stderr, "{:.1f} s on {}\n",
               std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(),
               computer->description());
    fmt::print("{}", table(results));
    if (!out.empty()) {
        const std::string json = evaluation.report(results, "templar.cpp 0.1 eval")
                                     .dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
        write_file(out, as_bytes(json + "\n"));
    }
    return 0;
}

std::string task_list() {
    std::string list = "Tasks, and the file that each reads from --data (docs/evaluation.md says where to get it):\n";
    for (const Task& task : all_tasks())
        list += fmt::format("  {:<18} {}\n  {:<18} {}\n", task.name, task.about, "", task.files.front());
    return list;
}

std::function<int()> define(CLI::App& app) {
    const auto flags = std::make_shared<Flags>();
    SessionOptions& session = flags->session;
    app.footer(task_list() + "\n" + app.get_footer());
    app.add_option("MODEL", flags->model,
                   "a Hugging Face folder, a folder of train, miner or validator, or a llama2.c checkpoint (.bin)")
        ->required()
        ->type_name("")
        ->default_str("");
    app.add_option("--tasks", session.tasks, "names with commas between, or all: those whose data is there")
        ->delimiter(',');
    app.add_option("--data", session.data, "folder of the data sets")->type_name("FOLDER");
    app.add_option("--file", flags->files, "data of one task, wherever it lies")->type_name("TASK=PATH");
    app.add_option(
           "--text", session.texts,
           "perplexity of a text; documents end with lines of <|endoftext|>; of a .jsonl file: the \"text\" of each "
           "row")
        ->type_name("FILE");
    app.add_option("--limit", session.limit, "only the first rows of each task (of each subject of MMLU); 0: all")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
    app.add_option("--out", flags->out, "JSON of the results and of all that is needed to repeat them")
        ->type_name("FILE");
    app.add_option(
           "--rows", session.rows,
           "every answer with its log-likelihoods, one JSON object a line; with it an interrupted evaluation goes on")
        ->type_name("FILE");
    app.add_option("--tokenizer", flags->tokenizer, "default: the one beside the weights")->type_name("PATH");
    app.add_option("--length", session.length, "tokens that the model sees at once; 0: as many as it was trained for")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
    app.add_option("--overlap", session.overlap, "tokens of a text that each window sees of the one before")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
    app.add_flag("--bos", session.bos, "begin every context with the begin token (lm-eval: add_bos_token=True)");
    app.add_option("--batch-tokens", session.batch_tokens, "tokens computed at once: more needs more memory")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
    add_device_flags(app, flags->device);
    return [flags] { return flags->run(); };
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(argc, argv, "eval",
                       "Evaluates a model zero-shot by the rules of lm-eval 0.4.9: accuracy on multiple choice by "
                       "log-likelihood, and perplexity of texts.\n\n"
                       "  eval my-model --data benchmarks --tasks hellaswag,piqa,arc_easy --limit 100\n"
                       "  eval my-model --data benchmarks --tasks all --out results.json --rows rows.jsonl\n"
                       "  eval my-model --text book.txt\n\n"
                       "With --rows, the same command goes on where it was interrupted.",
                       define);
}
