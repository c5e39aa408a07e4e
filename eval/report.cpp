#include "eval/evaluate.h"

#include <cmath>

namespace templar {

namespace {

const Figure* find(const Result& result, std::string_view name) {
    for (const Figure& figure : result.figures)
        if (figure.name == name) return &figure;
    return nullptr;
}

std::string cells(const Figure* figure) {
    if (!figure) return fmt::format("{:>9} {:>8}", "", "");
    return fmt::format("{:>9.4f} {:>8}", figure->value,
                       std::isnan(figure->error) ? "" : fmt::format("{:.4f}", figure->error));
}

void add_line(std::string& out, const Result& result, std::string_view indent) {
    const Figure* acc = find(result, "acc");
    if (acc)
        out += fmt::format("{:<38} {:>6}  {}  {}\n", std::string(indent) + result.name, result.rows, cells(acc),
                           cells(find(result, "acc_norm")));
    if (const Figure* perplexity = find(result, "perplexity"))
        out += fmt::format("{:<38} {:>6}  perplexity {:.4f}, standard error {:.4f}\n", "", "", perplexity->value,
                           perplexity->error);
    if (acc) return;
    out += fmt::format("{}\n  ", result.name);
    for (const Figure& figure : result.figures)
        out += fmt::format(fmt::runtime(figure.value == std::floor(figure.value) ? "{} {:.0f}   " : "{} {:.4f}   "),
                           figure.name, figure.value);
    out += fmt::format("documents {}\n", result.rows);
}

}  // namespace

std::string table(std::span<const Result> results) {
    std::string out;
    for (const Result& result : results)
        if (out.empty() && find(result, "acc"))
            out = fmt::format("{:<38} {:>6}  {:>9} {:>8}  {:>9} {:>8}\n", "task", "rows", "acc", "stderr", "acc_norm",
                              "stderr");
    for (const Result& result : results) {
        add_line(out, result, "");
        for (const Result& group : result.groups) add_line(out, group, "  ");
        for (const Result& subject : result.subjects) add_line(out, subject, "    ");
    }
    return out;
}

nlohmann::json to_json(const Result& result) {
    nlohmann::json json = {{"rows", result.rows}};
    for (const Figure& figure : result.figures) {
        json[figure.name] = figure.value;
        if (!std::isnan(figure.error)) json[figure.name + "_stderr"] = figure.error;
    }
    for (const Result& group : result.groups) json["groups"][group.name] = to_json(group);
    for (const Result& subject : result.subjects) json["subjects"][subject.name] = to_json(subject);
    return json;
}

}  // namespace templar
