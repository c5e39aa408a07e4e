// One function per benchmark; a new one is a file beside this and a line here and in all.cpp.
#pragma once

#include "eval/task.h"

namespace templar {

Task hellaswag();
Task piqa();
Task arc_easy();
Task arc_challenge();
Task openbookqa();
Task winogrande();
Task boolq();
Task mmlu();
Task lambada_openai();
Task tinystories_cloze();

// Choices in one of three forms, with the number of the right one:
//   {"choices": ["…", …], "gold": 2}
//   {"choices": {"text": ["…", …], "label": ["A", …]}, "answerKey": "C"}              Hugging Face's
//   {"question": {"choices": [{"text": "…", "label": "A"}, …]}, "answerKey": "C"}     AI2's own
struct LabelledChoices {
    std::vector<std::string> texts;
    int64_t gold = 0;
};
LabelledChoices labelled_choices(const Row& row);
// The question's text in those forms: "question.stem", or the text under `key`.
std::string question_text(const Row& row, const char* key);

}  // namespace templar
