// AI2 Reasoning Challenge, easy and challenge: questions of school science. Clark et al. 2018.
#include "eval/tasks/tasks.h"

namespace templar {

namespace {

Task arc(std::string_view name, std::string_view about, std::vector<std::string_view> files) {
    return {.name = name,
            .about = about,
            .version = 1.0,
            .measure = Measure::both_accuracies,
            .files = std::move(files),
            .question = [](const Row& row) {
                LabelledChoices choices = labelled_choices(row);
                return question_with_choices("Question: " + question_text(row, "question") + "\nAnswer:",
                                             std::move(choices.texts), choices.gold);
            }};
}

}  // namespace

Task arc_easy() {
    return arc("arc_easy", "school science, the easy set; 3 to 5 choices",
               {"arc_easy_test.jsonl", "ARC-V1-Feb2018-2/ARC-Easy/ARC-Easy-Test.jsonl"});
}

Task arc_challenge() {
    return arc("arc_challenge", "school science, the hard set; 3 to 5 choices",
               {"arc_challenge_test.jsonl", "ARC-V1-Feb2018-2/ARC-Challenge/ARC-Challenge-Test.jsonl"});
}

}  // namespace templar
