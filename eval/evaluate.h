// Benchmarks from their files to their figures.
#pragma once

#include "eval/metrics.h"
#include "eval/rows_file.h"
#include "eval/task.h"

namespace templar {

// What one benchmark, or one text, asks of the model.
struct Item {
    int64_t i = 0;  // of the row in its file, or of the window in its text; from 0
    std::vector<Request> requests;
    // Of a question:
    int64_t gold = 0;
    std::vector<int64_t> characters, bytes;  // of the choices
    std::string subject;
};
struct Workload {
    std::string name;            // of the task; "perplexity FILE" for a text
    const Task* task = nullptr;  // none for a text
    RowFile file;
    std::vector<Item> items;
    int64_t documents = 0, words = 0, bytes = 0, overlap = 0;  // of a text
};

// The task's file in a folder of data sets. Throws Error(input) naming the files that would do.
std::filesystem::path find_data(const Task& task, const std::filesystem::path& folder);
// limit: the first rows of the file (of each subject where there are subjects); 0: all. Throws Error(input) naming file
// and line of a row that is in no known form or longer than the model can answer.
Workload plan_task(const Task& task, const std::filesystem::path& file, int64_t limit, const Tokenizer& tokenizer,
                   const RequestRules& rules);
// A text: each document (split_documents(); of a .jsonl file the "text" of each row) is scored on its own, in windows
// as make_windows() cuts them; limit: the first documents. Throws Error(input).
Workload plan_text(const std::filesystem::path& file, int64_t limit, int64_t overlap, const Tokenizer& tokenizer,
                   const RequestRules& rules);
// Tokens that the longest request of all has the model see.
int64_t longest_input(std::span<const Workload> works);

// How much has been answered. tokens: those that the model sees for it, which is what takes the time.
struct Answered {
    int64_t items = 0, tokens = 0;
};
Answered everything(const Workload& work);

// The scores of every request of every item, from `rows` where they are there, else from the scorer and then kept in
// `rows`. `done` is told what has been answered; it returns false to stop: Error(interrupted). Items are answered in
// portions, the longest first, so that all but the last portion of a killed program is kept.
using ItemScores = std::vector<std::vector<Score>>;
ItemScores answer(const Workload& work, Scorer& scorer, RowsFile& rows, const std::function<bool(const Answered&)>& done);

// Figures by name. A mean has its standard error, or not a number where there is none.
struct Figure {
    std::string name;  // acc, acc_norm, acc_bytes, perplexity, word_perplexity, …
    double value = 0, error = 0;
};
struct Result {
    std::string name;  // of the task, the subject or the group
    int64_t rows = 0;
    std::vector<Figure> figures;
    std::vector<Result> groups, subjects;
};
Result summarize(const Workload& work, const ItemScores& scores);

// The table for people, and everything for machines.
std::string table(std::span<const Result> results);
nlohmann::json to_json(const Result& result);

}  // namespace templar
