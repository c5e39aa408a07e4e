// Which sentence goes on in a story of TinyStories: a control for models too small for anything else.
#include "eval/tasks/tasks.h"

namespace templar {

Task tinystories_cloze() {
    return {.name = "tinystories_cloze",
            .about = "which sentence goes on in a child's story; for tiny models",
            .version = 1.0,
            .measure = Measure::both_accuracies,
            .files = {"tinystories_cloze.jsonl"},
            .question = [](const Row& row) {
                std::vector<std::string> choices = row.texts("choices");
                const int64_t gold = row.gold("gold", choices.size());
                return question_with_choices(row.text("query"), std::move(choices), gold);
            }};
}

}  // namespace templar
