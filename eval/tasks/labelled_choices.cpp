#include "eval/tasks/tasks.h"

#include <algorithm>

namespace templar {

namespace {

int64_t gold_of(const Row& row, const std::vector<std::string>& labels) {
    const std::string key = row.text("answerKey");
    const auto found = std::find(labels.begin(), labels.end(), key);
    if (found == labels.end()) row.refuse(fmt::format("\"answerKey\": no choice has the label \"{}\"", key));
    return found - labels.begin();
}

}  // namespace

LabelledChoices labelled_choices(const Row& row) {
    LabelledChoices choices;
    std::vector<std::string> labels;
    if (row.is_object("question")) {
        for (const Row& choice : row.object("question").objects("choices")) {
            choices.texts.push_back(choice.text("text"));
            labels.push_back(choice.text("label"));
        }
    } else if (row.is_object("choices")) {
        choices.texts = row.object("choices").texts("text");
        labels = row.object("choices").texts("label");
        if (labels.size() != choices.texts.size())
            row.refuse(fmt::format("\"choices\": {} texts, but {} labels", choices.texts.size(), labels.size()));
    } else {
        choices.texts = row.texts("choices");
        choices.gold = row.gold("gold", choices.texts.size());
        return choices;
    }
    choices.gold = gold_of(row, labels);
    return choices;
}

std::string question_text(const Row& row, const char* key) {
    return row.is_object("question") ? row.object("question").text("stem") : row.text(key);
}

}  // namespace templar
