// WinoGrande: whom a pronoun means. Sakaguchi et al. 2019. Partial evaluation: each option stands in the context, and
// what follows the blank is scored; so there is no length to divide by, and acc alone is reported.
#include "eval/tasks/tasks.h"
#include "eval/text.h"

namespace templar {

namespace {

Question question(const Row& row) {
    const std::string sentence = row.text("sentence");
    const size_t blank = sentence.find('_');
    if (blank == sentence.npos) row.refuse("\"sentence\": expected a blank, _");
    const std::string before = sentence.substr(0, blank);
    Question question;
    question.contexts = {before + row.text("option1"), before + row.text("option2")};
    question.choices = question.contexts;
    question.continuations = {" " + std::string(strip(std::string_view(sentence).substr(blank + 1)))};
    question.gold = row.integer("answer", 1, 2) - 1;
    return question;
}

}  // namespace

Task winogrande() {
    return {.name = "winogrande",
            .about = "whom a pronoun means; 2 choices",
            .version = 1.0,
            .measure = Measure::accuracy,
            .files = {"winogrande_xl_validation.jsonl", "winogrande_1.1/dev.jsonl", "winogrande_validation.jsonl"},
            .question = question};
}

}  // namespace templar
