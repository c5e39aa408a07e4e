#include "eval/tasks/tasks.h"

namespace templar {

std::span<const Task> all_tasks() {
    static const std::vector<Task> tasks = {hellaswag(),  piqa(),  arc_easy(), arc_challenge(),  openbookqa(),
                                            winogrande(), boolq(), mmlu(),     lambada_openai(), tinystories_cloze()};
    return tasks;
}

const Task& find_task(std::string_view name) {
    std::string names;
    for (const Task& task : all_tasks()) {
        if (task.name == name) return task;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", task.name);
    }
    fail(ExitCode::usage, "there is no task \"{}\"; there are: {}", name, names);
}

Question question_with_choices(std::string context, std::vector<std::string> choices, int64_t gold) {
    Question question{.contexts = {std::move(context)},
                      .continuations = {},
                      .choices = std::move(choices),
                      .gold = gold,
                      .subject = {}};
    for (const std::string& choice : question.choices) question.continuations.push_back(" " + choice);
    return question;
}

}  // namespace templar
