// What a benchmark is: where its rows lie, how a row becomes a question, what is reported. One file in eval/tasks each.
#pragma once

#include "eval/row.h"

#include <span>

namespace templar {

// Each answer is a continuation of a context; the most likely one is the model's choice.
struct Question {
    // One for all answers, or one for each (WinoGrande puts the options there).
    std::vector<std::string> contexts;
    std::vector<std::string> continuations;  // likewise
    // The answers as their lengths count for acc_norm: without the space before them.
    std::vector<std::string> choices;
    int64_t gold = 0;
    std::string subject;  // of tasks with subjects (MMLU)

    size_t answers() const { return std::max(contexts.size(), continuations.size()); }
    const std::string& context(size_t answer) const { return contexts[contexts.size() == 1 ? 0 : answer]; }
    const std::string& continuation(size_t answer) const {
        return continuations[continuations.size() == 1 ? 0 : answer];
    }
};

// The common form: every choice, after a space, continues one context.
Question question_with_choices(std::string context, std::vector<std::string> choices, int64_t gold);

enum class Measure {
    accuracy,         // acc
    both_accuracies,  // acc, and acc_norm: by log-likelihood per character
    last_word         // acc: the continuation is what greedy decoding gives; perplexity of it
};

// A subject and the group that it counts for.
struct Subject {
    std::string_view name, group;
};

struct Task {
    std::string_view name;   // lm-eval's
    std::string_view about;  // a line for --help
    double version;          // of the prompt: lm-eval's metadata
    Measure measure;
    // In the folder of data sets; the first that is there is read.
    std::vector<std::string_view> files;
    // Throws Error(input) through the row when it is in no known form.
    Question (*question)(const Row& row);
    // How the name of a file of labels ends that may lie beside the rows: "-labels.lst" beside valid.jsonl means
    // valid-labels.lst.
    std::string_view labels = {};
    // Where rows have subjects: all of them; --limit then counts rows of each.
    std::span<const Subject> subjects = {};
};

// Every task, in the order of eval/tasks/all.cpp.
std::span<const Task> all_tasks();
// Throws Error(usage) naming the tasks that there are.
const Task& find_task(std::string_view name);

}  // namespace templar
