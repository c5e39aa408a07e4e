#include "tests/eval/toy.h"

#include <doctest/doctest.h>

#include <set>

using namespace templar;
using namespace templar::test;
using nlohmann::json;
using Texts = std::vector<std::string>;

namespace {

void check(const Question& question, const Texts& contexts, const Texts& continuations, int64_t gold) {
    CHECK(question.contexts == contexts);
    CHECK(question.continuations == continuations);
    CHECK(question.gold == gold);
    CHECK(question.answers() == question.choices.size());
}

}  // namespace

TEST_CASE("the table of tasks is complete") {
    std::set<std::string_view> names;
    for (const Task& task : all_tasks()) {
        CAPTURE(task.name);
        CHECK(names.insert(task.name).second);
        CHECK((task.question != nullptr));
        CHECK(!task.files.empty());
        CHECK(!task.about.empty());
        CHECK(&find_task(task.name) == &task);
    }
    CHECK_THROWS_WITH_AS(find_task("helaswag"), doctest::Contains("hellaswag, piqa"), Error);
    CHECK(find_task("mmlu").subjects.size() == 57);
}

TEST_CASE("HellaSwag: marks and double spaces go, the second part begins with a capital") {
    const json row = {{"activity_label", "Home and Garden"},
                      {"ctx_a", "[header] How to  sow [title] Dig a hole. [step] Do it   well."},
                      {"ctx_b", "the MAN [x"},
                      {"endings", {" [title] digs.", "sits [substeps] down.", "a [b\nc] d", "x  "}},
                      {"label", 1}};
    const Question question = question_of("hellaswag", row);
    // Brackets do not close across lines; three spaces become two; what stripping leaves is cleaned.
    check(question, {"Home and Garden: How to sow. Dig a hole. Do it  well. The man [x"},
          {"  digs.", " sits down.", " a [b\nc] d", " x"}, 1);
}

TEST_CASE("HellaSwag: prepared rows are taken as they are") {
    check(question_of("hellaswag", {{"query", "A  [b]"}, {"choices", {" c", "d"}}, {"gold", 0}}), {"A  [b]"},
          {"  c", " d"}, 0);
}

TEST_CASE("PIQA, OpenBookQA, BoolQ, LAMBADA and the cloze set") {
    check(question_of("piqa", {{"goal", "Open a jar"}, {"sol1", "twist "}, {"sol2", "cut"}, {"label", "1"}}),
          {"Question: Open a jar\nAnswer:"}, {" twist ", " cut"}, 1);
    check(question_of("openbookqa", {{"question_stem", "Fog is"}, {"choices", {"wet", "dry"}}, {"gold", 0}}),
          {"Fog is"}, {" wet", " dry"}, 0);
    check(question_of("boolq", {{"passage", "P."}, {"question", "is it so"}, {"answer", true}}),
          {"P.\nQuestion: is it so?\nAnswer:"}, {" no", " yes"}, 1);
    check(question_of("boolq", {{"title", "T"}, {"passage", "P."}, {"question", "is it so"}, {"answer", false}}),
          {"T -- P.\nQuestion: is it so?\nAnswer:"}, {" no", " yes"}, 0);
    check(question_of("boolq", {{"passage", "P."}, {"question", "is it so"}, {"label", 1}}),
          {"P.\nQuestion: is it so?\nAnswer:"}, {" no", " yes"}, 1);
    check(question_of("lambada_openai", {{"text", "he went  home"}}), {"he went "}, {" home"}, 0);
    check(question_of("lambada_openai", {{"context", "he went"}, {"continuation", "home"}}), {"he went"}, {" home"}, 0);
    check(question_of("tinystories_cloze", {{"query", "Once."}, {"choices", {"A.", "B."}}, {"gold", 1}}), {"Once."},
          {" A.", " B."}, 1);
}

TEST_CASE("ARC and OpenBookQA: three forms of labelled choices are one question") {
    const json flat = {{"question", "Why?"}, {"choices", {"x", "y", "z"}}, {"gold", 2}};
    const json hugging_face = {
        {"question", "Why?"}, {"choices", {{"text", {"x", "y", "z"}}, {"label", {"1", "2", "3"}}}}, {"answerKey", "3"}};
    const json original = {
        {"question",
         {{"stem", "Why?"},
          {"choices",
           {{{"text", "x"}, {"label", "A"}}, {{"text", "y"}, {"label", "B"}}, {{"text", "z"}, {"label", "C"}}}}}},
        {"answerKey", "C"}};
    for (const json& row : {flat, hugging_face, original})
        for (const char* task : {"arc_easy", "arc_challenge"})
            check(question_of(task, row), {"Question: Why?\nAnswer:"}, {" x", " y", " z"}, 2);
    check(question_of("openbookqa", original), {"Why?"}, {" x", " y", " z"}, 2);
}

TEST_CASE("WinoGrande: the options stand in the context, what follows the blank is scored") {
    const json row = {
        {"sentence", "Ann thanked Bea, so _ smiled."}, {"option1", "Ann"}, {"option2", "Bea"}, {"answer", "2"}};
    const Question question = question_of("winogrande", row);
    check(question, {"Ann thanked Bea, so Ann", "Ann thanked Bea, so Bea"}, {" smiled."}, 1);
    CHECK(question.context(1) == "Ann thanked Bea, so Bea");
    CHECK(question.continuation(1) == " smiled.");
}

TEST_CASE("MMLU: a line about the subject, letters as answers") {
    json row = {
        {"subject", "us_foreign_policy"}, {"question", " Who?\n"}, {"choices", {"a", "b ", "c", "d"}}, {"answer", 3}};
    const std::string context =
        "The following are multiple choice questions (with answers) about us foreign policy.\n\n"
        "Who?\nA. a\nB. b \nC. c\nD. d\nAnswer:";
    check(question_of("mmlu", row), {context}, {" A", " B", " C", " D"}, 3);
    CHECK(question_of("mmlu", row).subject == "us_foreign_policy");
    row["answer"] = "B";
    CHECK(question_of("mmlu", row).gold == 1);
    row["subject"] = "alchemy";
    CHECK(refusal([&] { question_of("mmlu", row); }).find("alchemy") != std::string::npos);
}

TEST_CASE("a bad row is refused naming file, line and field") {
    struct Bad {
        const char* task;
        json row;
        const char* says;
    };
    const json choices = {"x", "y"};
    const Bad bad[] = {
        {"piqa", {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}}, "\"label\""},
        {"piqa",
         {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}, {"label", 2}},
         "\"label\": expected a number from 0 to 1, found 2"},
        {"piqa", {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}, {"label", -1}}, "found -1"},
        {"piqa", {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}, {"label", 18446744073709551615u}}, "found 1844"},
        {"piqa", {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}, {"label", "0x"}}, "found \"0x\""},
        {"piqa", {{"goal", 3}, {"sol1", "a"}, {"sol2", "b"}, {"label", 0}}, "\"goal\": expected a text, found number"},
        {"hellaswag", {{"query", "q"}, {"choices", json::array()}, {"gold", 0}}, "an empty one"},
        {"hellaswag", {{"query", "q"}, {"choices", {"x", 1}}, {"gold", 0}}, "found number in it"},
        {"hellaswag", {{"ctx", "q"}}, "there is no field \"endings\", only: ctx"},
        {"arc_easy", {{"question", "q"}, {"choices", choices}, {"gold", 2}}, "\"gold\""},
        {"arc_easy",
         {{"question", "q"}, {"choices", {{"text", choices}, {"label", {"A"}}}}, {"answerKey", "A"}},
         "2 texts, but 1"},
        {"arc_easy",
         {{"question", "q"}, {"choices", {{"text", choices}, {"label", {"A", "B"}}}}, {"answerKey", "C"}},
         "no choice has the label \"C\""},
        {"arc_easy",
         {{"question", {{"stem", "q"}, {"choices", choices}}}, {"answerKey", "C"}},
         "expected a list of objects"},
        {"winogrande",
         {{"sentence", "no blank"}, {"option1", "a"}, {"option2", "b"}, {"answer", "1"}},
         "expected a blank"},
        {"winogrande", {{"sentence", "a _"}, {"option1", "a"}, {"option2", "b"}, {"answer", ""}}, "\"answer\""},
        {"boolq", {{"passage", "p"}, {"question", "q"}, {"answer", "maybe"}}, "\"answer\""},
        {"boolq", {{"passage", "p"}, {"question", "q"}}, "\"label\""},
        {"lambada_openai", {{"text", "word"}}, "a last word"},
        {"mmlu",
         {{"subject", "anatomy"}, {"question", "q"}, {"choices", choices}, {"answer", 0}},
         "expected 4, found 2"},
        {"mmlu",
         {{"subject", "anatomy"}, {"question", "q"}, {"choices", {"a", "b", "c", "d"}}, {"answer", "E"}},
         "\"answer\""},
    };
    for (const Bad& each : bad) {
        CAPTURE(each.task);
        CAPTURE(each.row.dump());
        const std::string message = refusal([&] { question_of(each.task, each.row); });
        CHECK(message.find("rows.jsonl line 1") == 0);
        CHECK(message.find(each.says) != std::string::npos);
        CAPTURE(message);
    }
}
