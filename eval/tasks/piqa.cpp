// PIQA: which of two ways reaches a goal of everyday physics. Bisk et al. 2020.
#include "eval/tasks/tasks.h"

namespace templar {

Task piqa() {
    return {.name = "piqa",
            .about = "everyday physics; 2 choices",
            .version = 1.0,
            .measure = Measure::both_accuracies,
            .files = {"piqa_validation.jsonl", "piqa/valid.jsonl"},
            .question =
                [](const Row& row) {
                    return question_with_choices("Question: " + row.text("goal") + "\nAnswer:",
                                                 {row.text("sol1"), row.text("sol2")}, row.gold("label", 2));
                },
            .labels = "-labels.lst"};
}

}  // namespace templar
