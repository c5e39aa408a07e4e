// Where the time and the bytes went, the state of the logs themselves, and how to make this page again.
#include "node/report_page.h"
#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace templar::html {

namespace {

constexpr size_t max_bars = 40;
constexpr size_t max_speed_lines = 10;
constexpr size_t max_errors = 50;

struct KnownPhase {
    const char* name;
    const char* style;
};
// In the order of a window.
constexpr KnownPhase miner_phases[] = {{"train", "p0"},  {"compress", "p1"}, {"commit", "p2"}, {"upload", "p3"},
                                       {"gather", "p4"}, {"apply", "p5"},    {"wait", "pw"}};
constexpr KnownPhase validator_phases[] = {{"stage1", "p4"}, {"record", "p2"}, {"stage2", "p0"},
                                           {"heldout", "p1"}, {"apply", "p5"}, {"wait", "pw"}};

// Mean seconds per phase over the windows that logged any; phases nobody foresaw come before the wait.
svg::BarChart phase_chart(const Page& page, bool validators) {
    svg::BarChart chart;
    chart.label = validators ? "Seconds per window and phase, validators" : "Seconds per window and phase, miners";
    std::vector<std::map<std::string, double>> means;
    std::map<std::string, bool> seen;
    for (const ParticipantLog& log : page.run.participants) {
        if (log.validator != validators || means.size() == max_bars) continue;
        std::map<std::string, double> sums;
        double windows = 0;
        for (const WindowLine& line : log.windows) {
            windows += line.phases.empty() ? 0 : 1;
            for (const PhaseTime& phase : line.phases)
                if (std::isfinite(phase.seconds)) sums[phase.name] += phase.seconds, seen[phase.name] = true;
        }
        if (windows == 0) continue;
        for (auto& [name, sum] : sums) sum /= windows;
        means.push_back(std::move(sums));
        chart.rows.push_back({page.peer(log.peer).name, {}});
    }
    std::vector<KnownPhase> order(std::begin(miner_phases), std::end(miner_phases));
    if (validators) order.assign(std::begin(validator_phases), std::end(validator_phases));
    const KnownPhase last = order.back();
    order.pop_back();
    for (const KnownPhase& phase : order)
        if (seen.erase(phase.name)) chart.parts.push_back({phase.name, phase.style});
    const bool wait = seen.erase(last.name) > 0;
    for (const auto& [name, unused] : seen) chart.parts.push_back({name, "p6"});
    if (wait) chart.parts.push_back({last.name, last.style});
    for (size_t row = 0; row < chart.rows.size(); ++row)
        for (const svg::Part& part : chart.parts) {
            const auto mean = means[row].find(part.name);
            chart.rows[row].values.push_back(mean == means[row].end() ? no_value : mean->second);
        }
    if (std::isfinite(page.run.window_ms) && page.run.window_ms > 0) {
        chart.rule = page.run.window_ms / 1000;
        chart.rule_name = fmt::format("window {:.4g} s", chart.rule);
    }
    return chart;
}

std::string part_legend(const svg::BarChart& chart) {
    std::string out = "<ul class=\"legend\">";
    for (const svg::Part& part : chart.parts) out += fmt::format("<li>{}{}</li>", svg::box_swatch(part.style), escape(part.name));
    return out + "</ul>\n";
}

std::string phase_table(const svg::BarChart& chart) {
    std::vector<std::string> headings = {"participant"};
    for (const svg::Part& part : chart.parts) headings.push_back(">" + escape(part.name));
    Table table("Seconds per phase", headings);
    for (const svg::BarRow& row : chart.rows) {
        table.cell(escape(clip(row.name, 40)));
        for (double value : row.values) table.cell(seconds(value));
    }
    return "<details><summary>The same in numbers</summary>\n" + table.html() + "</details>\n";
}

std::string phase_figure(const Page& page, bool validators) {
    const svg::BarChart chart = phase_chart(page, validators);
    if (chart.rows.empty() || chart.parts.empty()) return "";
    return figure(validators ? "Validators: time per phase" : "Miners: time per phase",
                  validators ? "Stage 1 checks what arrived, stage 2 measures losses." : "Of a mean window. Training should fill it.",
                  part_legend(chart) + full_width(chart) + phase_table(chart));
}

svg::LineChart bytes_chart(const Page& page) {
    std::map<int64_t, double> up, down;
    for (const ParticipantLog& log : page.run.participants)
        for (const WindowLine& line : log.windows) {
            if (std::isfinite(line.bytes_up)) up[line.window] += line.bytes_up;
            if (std::isfinite(line.bytes_down)) down[line.window] += line.bytes_down;
        }
    svg::LineChart chart;
    chart.label = "Bytes per window, all participants together";
    chart.y_title = "per window, all participants";
    chart.unit = svg::Unit::bytes;
    chart.from_zero = true;
    svg::Series up_line{"up", "up", {}, true}, down_line{"down", "down", {}, true};
    for (const auto& [window, bytes] : up) up_line.points.push_back({static_cast<double>(window), bytes});
    for (const auto& [window, bytes] : down) down_line.points.push_back({static_cast<double>(window), bytes});
    if (!up.empty()) chart.series.push_back(up_line);
    if (!down.empty()) chart.series.push_back(down_line);
    return chart;
}

svg::LineChart speed_chart(const Page& page) {
    svg::LineChart chart;
    chart.label = "Tokens per second of each miner";
    chart.y_title = "tokens per second";
    chart.unit = svg::Unit::count;
    chart.from_zero = true;
    for (const ParticipantLog& log : page.run.participants) {
        if (log.validator) continue;
        const bool named = chart.series.size() < max_speed_lines;
        svg::Series series{page.peer(log.peer).name, named ? page.styles[log.peer] : "other", {}, named};
        for (const WindowLine& line : log.windows) series.points.push_back({static_cast<double>(line.window), line.tokens_per_second});
        const bool any = std::any_of(series.points.begin(), series.points.end(), [](const svg::Point& p) { return std::isfinite(p.y); });
        if (any) chart.series.push_back(std::move(series));
    }
    return chart;
}

double mean_of(const ParticipantLog& log, double WindowLine::* field) {
    double sum = 0, windows = 0;
    for (const WindowLine& line : log.windows)
        if (std::isfinite(line.*field)) sum += line.*field, ++windows;
    return windows > 0 ? sum / windows : no_value;
}

std::string trouble_of(const ParticipantLog& log) {
    std::string text;
    const auto add = [&](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
    if (log.starts > 1) add(fmt::format("started {} times", log.starts));
    if (!log.stopped) add("no stop logged: killed or still running");
    if (log.bad_lines > 0) add(fmt::format("{} unreadable line{} skipped", log.bad_lines, log.bad_lines == 1 ? "" : "s"));
    if (log.half_line) add("ends inside a line");
    if (!log.errors.empty()) add(fmt::format("{} error{}", log.errors.size(), log.errors.size() == 1 ? "" : "s"));
    return text.empty() ? "none" : text;
}

std::string error_list(const Page& page) {
    std::vector<std::pair<const ErrorLine*, size_t>> errors;
    for (const ParticipantLog& log : page.run.participants)
        for (const ErrorLine& error : log.errors) errors.emplace_back(&error, log.peer);
    if (errors.empty()) return "";
    std::stable_sort(errors.begin(), errors.end(), [](const auto& a, const auto& b) { return a.first->time_ms > b.first->time_ms; });
    Table table("Errors", {"time", "participant", "message"});
    for (size_t i = 0; i < std::min(errors.size(), max_errors); ++i)
        table.cell(date(errors[i].first->time_ms)).cell(page.name(errors[i].second)).wide_cell(escape(clip(errors[i].first->message, 400)));
    const char* more = errors.size() > max_errors ? ", the newest below" : "";
    return fmt::format("<details open=\"open\"><summary>{} error{} logged{}</summary>\n{}</details>\n", errors.size(),
                       errors.size() == 1 ? "" : "s", more, table.html());
}

// In single quotes, so that a folder with spaces or worse can be pasted into a shell.
std::string shell_word(const std::string& text) {
    const bool plain = text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:@=") == std::string::npos;
    if (plain && !text.empty()) return text;
    std::string quoted = "'";
    for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

}  // namespace

std::string time_section(const Page& page) {
    std::string out = phase_figure(page, false) + phase_figure(page, true);
    std::string pair;
    if (const svg::LineChart chart = bytes_chart(page); !chart.series.empty())
        pair += figure("Traffic", "What crossed the network in each window.", half_width(chart));
    if (const svg::LineChart chart = speed_chart(page); !chart.series.empty())
        pair += figure("Speed", "Tokens trained per second, by each miner’s own account.", half_width(chart));
    if (!pair.empty()) out += "<div class=\"pair\">\n" + pair + "</div>\n";
    return out.empty() ? "" : "<section>\n<h2>Time and traffic</h2>\n" + out + "</section>\n";
}

std::string log_section(const Page& page) {
    Table table("Participants", {"participant", "role", ">windows", ">tokens/s", ">up/window", ">down/window", "last root", "remarks"});
    for (const ParticipantLog& log : page.run.participants) {
        const std::string root = log.windows.empty() ? "" : log.windows.back().root;
        table.cell(page.name(log.peer)).cell(escape(clip(page.peer(log.peer).role, 20))).cell(grouped(static_cast<double>(log.windows.size())));
        table.cell(count(mean_of(log, &WindowLine::tokens_per_second))).cell(bytes(mean_of(log, &WindowLine::bytes_up)));
        table.cell(bytes(mean_of(log, &WindowLine::bytes_down)));
        table.cell(root.empty() ? "–" : fmt::format("<code>{}</code>", escape(clip(root, 8)))).wide_cell(trouble_of(log));
    }
    std::string out = "<section>\n<h2>Participants and their logs</h2>\n";
    if (page.run.bad_lines() > 0)
        out += fmt::format("<p class=\"note\">{} unreadable line{} in the logs {} skipped.</p>\n", grouped(static_cast<double>(page.run.bad_lines())),
                           page.run.bad_lines() == 1 ? "" : "s", page.run.bad_lines() == 1 ? "was" : "were");
    if (!page.run.swarm_trouble.empty())
        out += fmt::format("<p class=\"note\">swarm.json was not used: {}</p>\n", escape(clip(page.run.swarm_trouble, 300)));
    return out + table.html() + error_list(page) + "</section>\n";
}

std::string made_section(const Page& page) {
    std::string commands;
    if (!page.run.command.empty()) commands += escape(page.run.command) + "\n";
    commands += escape("build/bin/report " + shell_word(page.run.folder));
    return fmt::format(
        "<section>\n<h2>How this page was made</h2>\n<p>From the run’s own logs, <code>swarm.json</code> and <code>peers/*/events.jsonl</code>; nothing "
        "is measured again. The same logs give the same page, byte for byte.</p>\n<pre><code>{}</code></pre>\n</section>\n",
        commands);
}

}  // namespace templar::html
