// Log-likelihoods, predictions and figures beside stored ones: $TEMPLAR_DATA/reference/<model>/eval_*.jsonl, of
// $TEMPLAR_DATA/models/<model> on $TEMPLAR_DATA/benchmarks.
#include "base/temporary_folder.h"
#include "eval/session.h"
#include "eval/tasks/tasks.h"
#include "tests/cpu.h"
#include "tests/data/folder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

using namespace templar;
using namespace templar::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

constexpr double tolerance = 2e-4;  // nats, of a whole answer; the stored ones are computed in double

fs::path raw_hellaswag() {
    return data_folder() / "benchmarks" / "hellaswag_validation.raw1000.jsonl";
}

std::vector<json> read_lines(const fs::path& path) {
    const std::string text = read_text_file(path, 1 << 28);
    std::vector<json> lines;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        if (end > at) lines.push_back(json::parse(text.substr(at, end - at)));
        at = end + 1;
    }
    return lines;
}

// Folders of reference/ with answers, whose model is there.
std::vector<std::string> models() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(data_folder() / "reference")) {
        const std::string name = entry.path().filename();
        if (!data_files("reference/" + name, "eval_", ".jsonl").empty() && fs::exists(data_folder() / "models" / name))
            names.push_back(name);
    }
    return names;
}

SavedModel open_model(const std::string& name) {
    SavedModel model = load_model(data_folder() / "models" / name);
    if (model.tokenizer.empty()) model.tokenizer = data_files("models/" + name, "tok", ".bin").at(0);
    return model;
}

// By task; answers of a file that does not say are of the task in its name.
std::map<std::string, std::vector<json>> by_task(const fs::path& file) {
    const std::string stem = file.stem().string(), from_name = stem.substr(std::string("eval_").size());
    std::map<std::string, std::vector<json>> tasks;
    for (json& line : read_lines(file)) tasks[line.value("task", from_name)].push_back(std::move(line));
    return tasks;
}

SessionOptions options_for(const std::string& task, int64_t rows, const fs::path& answers) {
    SessionOptions options;
    options.tasks = {task};
    options.data = data_folder() / "benchmarks";
    if (task == "hellaswag") options.files[task] = raw_hellaswag();
    options.limit = rows;
    options.rows = answers;
    return options;
}

void check_answer(const json& found, const json& expected) {
    CAPTURE(expected.dump());
    REQUIRE(found["ll"].size() == expected["ll"].size());
    for (size_t k = 0; k < found["ll"].size(); ++k)
        CHECK(std::abs(found["ll"][k].get<double>() - expected["ll"][k].get<double>()) <= tolerance);
    for (const char* key : {"is_greedy", "n_ctx", "n_cont", "gold", "pred", "pred_norm"}) {
        CAPTURE(key);
        CHECK(found[key] == expected[key]);
    }
}

void check_figures(const json& found, const json& expected) {
    CAPTURE(expected.dump());
    CHECK(found["rows"] == expected["n"]);
    CHECK(found["acc"].get<double>() == doctest::Approx(expected["acc"].get<double>()).epsilon(1e-12));
    if (!expected["acc_norm"].is_null())
        CHECK(found["acc_norm"].get<double>() == doctest::Approx(expected["acc_norm"].get<double>()).epsilon(1e-12));
}

}  // namespace

TEST_CASE("every stored log-likelihood, prediction and accuracy") {
    REQUIRE(!models().empty());
    for (const std::string& name : models()) {
        const SavedModel model = open_model(name);
        const auto tokenizer = load_tokenizer(model.tokenizer);
        json summary;
        for (const fs::path& file : data_files("reference/" + name, "eval_", "summary.json"))
            summary.update(json::parse(read_text_file(file, 1 << 20)));
        for (const fs::path& file : data_files("reference/" + name, "eval_", ".jsonl"))
            for (const auto& [task, expected] : by_task(file)) {
                CAPTURE(name);
                CAPTURE(task);
                const TemporaryFolder folder;
                const SessionOptions options = options_for(task, std::ssize(expected), folder.path() / "rows.jsonl");
                const std::vector<Result> results =
                    Session(model, *tokenizer, options).run(cpu(2), [](const Workload&, const Answered&) { return true; });
                std::map<int64_t, json> found;
                for (const json& line : read_lines(options.rows))
                    if (line.contains("i")) found[line["i"].get<int64_t>()] = line;
                CHECK(found.size() == expected.size());
                for (const json& line : expected) check_answer(found[line["i"].get<int64_t>()], line);
                if (summary.contains(task)) check_figures(to_json(results.front()), summary[task]);
            }
    }
}

TEST_CASE("every stored prompt") {
    for (const std::string& name : models())
        for (const fs::path& file : data_files("reference/" + name, "eval_", ".jsonl"))
            for (const auto& [task, expected] : by_task(file)) {
                if (!expected.front().contains("choices")) continue;
                const fs::path data =
                    task == "hellaswag" ? raw_hellaswag() : find_data(find_task(task), data_folder() / "benchmarks");
                std::vector<Question> questions;
                for_each_row(data, {}, [&](const Row& row) { questions.push_back(find_task(task).question(row)); });
                for (const json& line : expected) {
                    CAPTURE(line.dump());
                    const Question& question = questions.at(line["i"].get<size_t>());
                    CHECK(json(question.choices) == line["choices"]);
                    if (line["context"].is_string()) CHECK(json(question.context(0)) == line["context"]);
                    if (line["target"].is_string())
                        CHECK(json(question.continuation(0)) == json(" " + line["target"].get<std::string>()));
                }
            }
}

TEST_CASE("HellaSwag's raw rows become what others have prepared from them") {
    std::set<std::string> prepared;
    const auto text = [](const Question& question) {
        json all = {question.contexts, question.continuations, question.gold};
        return all.dump();
    };
    for_each_row(data_folder() / "benchmarks" / "hellaswag_validation.processed.jsonl", {}, [&](const Row& row) {
        if (row.boolean("exact")) prepared.insert(text(find_task("hellaswag").question(row)));
    });
    int64_t rows = 0, equal = 0;
    for_each_row(raw_hellaswag(), {}, [&](const Row& row) {
        ++rows;
        equal += static_cast<int64_t>(prepared.count(text(find_task("hellaswag").question(row))));
    });
    CHECK(rows == 1000);
    CHECK(equal == rows);
}

TEST_CASE("every row of every data set is understood") {
    const std::map<std::string, int64_t> sizes = {
        {"hellaswag", 10042},       {"piqa", 1838},       {"arc_easy", 2376}, {"arc_challenge", 1172},
        {"openbookqa", 500},        {"winogrande", 1267}, {"boolq", 3270},    {"lambada_openai", 5153},
        {"tinystories_cloze", 200}, {"mmlu", 14042}};
    for (const Task& task : all_tasks()) {
        CAPTURE(task.name);
        int64_t rows = 0;
        for_each_row(find_data(task, data_folder() / "benchmarks"), {}, [&](const Row& row) {
            const Question question = task.question(row);
            rows += question.answers() == question.choices.size() && question.gold < std::ssize(question.choices);
        });
        CHECK(rows == sizes.at(std::string(task.name)));
    }
}
