// MMLU: 57 subjects from school to profession. Hendrycks et al. 2020.
#include "eval/tasks/tasks.h"
#include "eval/text.h"

#include <algorithm>

namespace templar {

namespace {

constexpr Subject subjects[] = {
    {"abstract_algebra", "stem"},
    {"anatomy", "stem"},
    {"astronomy", "stem"},
    {"business_ethics", "other"},
    {"clinical_knowledge", "other"},
    {"college_biology", "stem"},
    {"college_chemistry", "stem"},
    {"college_computer_science", "stem"},
    {"college_mathematics", "stem"},
    {"college_medicine", "other"},
    {"college_physics", "stem"},
    {"computer_security", "stem"},
    {"conceptual_physics", "stem"},
    {"econometrics", "social_sciences"},
    {"electrical_engineering", "stem"},
    {"elementary_mathematics", "stem"},
    {"formal_logic", "humanities"},
    {"global_facts", "other"},
    {"high_school_biology", "stem"},
    {"high_school_chemistry", "stem"},
    {"high_school_computer_science", "stem"},
    {"high_school_european_history", "humanities"},
    {"high_school_geography", "social_sciences"},
    {"high_school_government_and_politics", "social_sciences"},
    {"high_school_macroeconomics", "social_sciences"},
    {"high_school_mathematics", "stem"},
    {"high_school_microeconomics", "social_sciences"},
    {"high_school_physics", "stem"},
    {"high_school_psychology", "social_sciences"},
    {"high_school_statistics", "stem"},
    {"high_school_us_history", "humanities"},
    {"high_school_world_history", "humanities"},
    {"human_aging", "other"},
    {"human_sexuality", "social_sciences"},
    {"international_law", "humanities"},
    {"jurisprudence", "humanities"},
    {"logical_fallacies", "humanities"},
    {"machine_learning", "stem"},
    {"management", "other"},
    {"marketing", "other"},
    {"medical_genetics", "other"},
    {"miscellaneous", "other"},
    {"moral_disputes", "humanities"},
    {"moral_scenarios", "humanities"},
    {"nutrition", "other"},
    {"philosophy", "humanities"},
    {"prehistory", "humanities"},
    {"professional_accounting", "other"},
    {"professional_law", "humanities"},
    {"professional_medicine", "other"},
    {"professional_psychology", "social_sciences"},
    {"public_relations", "social_sciences"},
    {"security_studies", "social_sciences"},
    {"sociology", "social_sciences"},
    {"us_foreign_policy", "social_sciences"},
    {"virology", "other"},
    {"world_religions", "humanities"},
};

Question question(const Row& row) {
    const std::string subject = row.text("subject");
    if (std::ranges::find(subjects, subject, &Subject::name) == std::end(subjects))
        row.refuse(fmt::format("\"subject\": \"{}\" is not one of MMLU's 57", subject));
    const std::vector<std::string> choices = row.texts("choices");
    if (choices.size() != 4) row.refuse(fmt::format("\"choices\": expected 4, found {}", choices.size()));
    std::string context = "The following are multiple choice questions (with answers) about " +
                          replace_all(subject, "_", " ") + ".\n\n" + std::string(strip(row.text("question"))) + "\n";
    const std::vector<std::string> letters = {"A", "B", "C", "D"};
    for (size_t i = 0; i < 4; ++i) context += letters[i] + ". " + choices[i] + "\n";
    int64_t gold = 0;
    const auto letter = row.is_text("answer") ? std::ranges::find(letters, row.text("answer")) : letters.end();
    gold = letter != letters.end() ? letter - letters.begin() : row.gold("answer", 4);
    Question question = question_with_choices(context + "Answer:", letters, gold);
    question.subject = subject;
    return question;
}

}  // namespace

Task mmlu() {
    return {.name = "mmlu",
            .about = "57 subjects from school to profession; 4 choices",
            .version = 2.0,
            .measure = Measure::accuracy,
            .files = {"mmlu_test.jsonl"},
            .question = question,
            .subjects = subjects};
}

}  // namespace templar
