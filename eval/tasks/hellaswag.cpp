// HellaSwag: which sentence goes on. Zellers et al. 2019.
#include "eval/tasks/tasks.h"
#include "eval/text.h"

namespace templar {

namespace {

// re.sub(r"\[.*?\]", "", text): marks of the WikiHow part, e.g. "[header]".
std::string without_brackets(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const size_t open = text.find('['), close = text.find_first_of("]\n", std::min(open, text.size()));
        const bool mark = close != text.npos && text[close] == ']';
        out += text.substr(0, mark ? open : close);
        text.remove_prefix(mark ? close + 1 : std::min(close, text.size()));
    }
    return out;
}

std::string clean(std::string_view text) {
    return replace_all(without_brackets(replace_all(strip(text), " [title]", ". ")), "  ", " ");
}

Question question(const Row& row) {
    if (row.has("query")) {  // prepared already
        std::vector<std::string> choices = row.texts("choices");
        const int64_t gold = row.gold("gold", choices.size());
        return question_with_choices(row.text("query"), std::move(choices), gold);
    }
    std::vector<std::string> endings = row.texts("endings");
    for (std::string& ending : endings) ending = clean(ending);
    const int64_t gold = row.gold("label", endings.size());
    const std::string context =
        row.text("activity_label") + ": " + row.text("ctx_a") + " " + capitalize(row.text("ctx_b"));
    return question_with_choices(clean(context), std::move(endings), gold);
}

}  // namespace

Task hellaswag() {
    return {.name = "hellaswag",
            .about = "which sentence goes on; 4 choices",
            .version = 1.0,
            .measure = Measure::both_accuracies,
            .files = {"hellaswag_val.jsonl", "hellaswag_validation.jsonl", "hellaswag_validation.processed.jsonl"},
            .question = question};
}

}  // namespace templar
