// LAMBADA: the last word of a passage. Paperno et al. 2016, in OpenAI's form.
#include "eval/tasks/tasks.h"

namespace templar {

namespace {

Question question(const Row& row) {
    std::string context, word;
    if (row.has("text")) {
        const std::string text = row.text("text");
        const size_t space = text.rfind(' ');
        if (space == text.npos) row.refuse("\"text\": expected a last word after a space");
        context = text.substr(0, space);
        word = text.substr(space + 1);
    } else {
        context = row.text("context");
        word = row.text("continuation");
    }
    return question_with_choices(std::move(context), {std::move(word)}, 0);
}

}  // namespace

Task lambada_openai() {
    return {.name = "lambada_openai",
            .about = "the last word of a passage: perplexity, and whether greedy decoding gives it",
            .version = 1.0,
            .measure = Measure::last_word,
            .files = {"lambada_openai_test.jsonl", "lambada_test_en.jsonl", "lambada_test.jsonl"},
            .question = question};
}

}  // namespace templar
