// BoolQ: yes or no, after a passage. Clark et al. 2019, as SuperGLUE has it: the passage begins with its title.
#include "eval/tasks/tasks.h"

namespace templar {

namespace {

Question question(const Row& row) {
    std::string passage = row.text("passage");
    // The original files keep the title apart; SuperGLUE, which lm-eval reads, has joined the two.
    if (row.has("title")) passage = row.text("title") + " -- " + passage;
    const bool yes = row.boolean(row.has("answer") ? "answer" : "label");
    return question_with_choices(passage + "\nQuestion: " + row.text("question") + "?\nAnswer:", {"no", "yes"}, yes);
}

}  // namespace

Task boolq() {
    return {.name = "boolq",
            .about = "yes or no, after a passage",
            .version = 2.0,
            .measure = Measure::accuracy,
            .files = {"boolq_validation.jsonl", "BoolQ/val.jsonl", "boolq/dev.jsonl"},
            .question = question};
}

}  // namespace templar
