// OpenBookQA: science facts put to use; the book is not shown. Mihaylov et al. 2018.
#include "eval/tasks/tasks.h"

namespace templar {

Task openbookqa() {
    return {.name = "openbookqa",
            .about = "science facts put to use; 4 choices",
            .version = 1.0,
            .measure = Measure::both_accuracies,
            .files = {"openbookqa_test.jsonl", "OpenBookQA-V1-Sep2018/Data/Main/test.jsonl"},
            .question = [](const Row& row) {
                LabelledChoices choices = labelled_choices(row);
                return question_with_choices(question_text(row, "question_stem"), std::move(choices.texts),
                                             choices.gold);
            }};
}

}  // namespace templar
