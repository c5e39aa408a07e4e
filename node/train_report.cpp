#include "node/train_report.h"

#include "base/file.h"
#include "node/report_json.h"
#include "node/report_page.h"
#include "node/report_text.h"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>

namespace templar {

namespace {

using nlohmann::json;

constexpr int64_t max_step = 1'000'000'000'000;
constexpr size_t last_steps = 20;  // one step's loss says little

struct Summary {
    double steps = 0, tokens = no_value, speed = no_value, seconds = no_value;
    double loss_first = no_value, loss_last = no_value;
    double heldout_first = no_value, heldout_last = no_value, heldout_best = no_value;
};

double mean(const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value;
    return values.empty() ? no_value : sum / static_cast<double>(values.size());
}

double median(std::vector<double> values) {
    if (values.empty()) return no_value;
    std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
}

Summary summarise(const TrainLog& log) {
    Summary s;
    std::vector<double> losses, speeds;
    for (const TrainLine& line : log.lines) {
        s.steps = static_cast<double>(line.step);
        if (std::isfinite(line.tokens)) s.tokens = line.tokens;
        if (std::isfinite(line.loss)) losses.push_back(line.loss);
        if (std::isfinite(line.tokens_per_second)) speeds.push_back(line.tokens_per_second);
        if (!std::isfinite(line.heldout_loss)) continue;
        if (!std::isfinite(s.heldout_first)) s.heldout_first = s.heldout_best = line.heldout_loss;
        s.heldout_last = line.heldout_loss;
        s.heldout_best = std::min(s.heldout_best, line.heldout_loss);
    }
    if (!losses.empty()) s.loss_first = losses.front();
    losses.erase(losses.begin(), losses.end() - static_cast<ptrdiff_t>(std::min(losses.size(), last_steps)));
    s.loss_last = mean(losses);
    s.speed = median(speeds);
    if (log.first_ms > 0) s.seconds = static_cast<double>(log.last_ms - log.first_ms) / 1000;
    return s;
}

TrainLine line_of(const json& event, int64_t step) {
    return {.step = step,
            .loss = number(event, "loss"),
            .grad_norm = number(event, "grad_norm"),
            .learning_rate = number(event, "lr"),
            .tokens = number(event, "tokens"),
            .tokens_per_second = number(event, "tokens_per_second"),
            .heldout_loss = number(event, "heldout_loss")};
}

svg::Series series(const TrainLog& log, const char* name, const char* style, double TrainLine::*value) {
    svg::Series result{name, style, {}, true};
    for (const TrainLine& line : log.lines)
        if (std::isfinite(line.*value)) result.points.push_back({static_cast<double>(line.step), line.*value});
    return result;
}

svg::LineChart step_chart(const char* label, const char* y_title, std::vector<svg::Series> lines) {
    svg::LineChart chart;
    chart.label = label;
    chart.y_title = y_title;
    chart.x_title = "step";
    std::erase_if(lines, [](const svg::Series& line) { return line.points.empty(); });
    chart.series = std::move(lines);
    return chart;
}

// Decimals that show three significant digits of the largest value.
int decimals_of(const svg::LineChart& chart) {
    double largest = 0;
    for (const svg::Series& line : chart.series)
        for (const svg::Point& point : line.points) largest = std::max(largest, std::abs(point.y));
    return largest > 0 ? std::clamp(2 - static_cast<int>(std::floor(std::log10(largest))), 0, 9) : 2;
}

std::string headline_of(const TrainLog& log, const Summary& s) {
    using namespace html;
    std::string text = "A model";
    if (std::isfinite(log.parameters)) text += fmt::format(" of {} parameters", count(log.parameters));
    text += fmt::format(" trained for {} steps", grouped(s.steps));
    if (!log.origin.empty()) text += fmt::format(", from {}", escape(clip(log.origin, 200)));
    std::string out =
        fmt::format("<header>\n<h1>{}</h1>\n<p class=\"lead\">{}.</p>\n</header>\n<div class=\"tiles\">\n",
                    escape(clip(log.name, 120)), text);
    const bool heldout = std::isfinite(s.heldout_first);
    out += tile("Held-out loss", heldout ? number(s.heldout_first, 3) + " → " + number(s.heldout_last, 3) : "–",
                heldout ? fmt::format("lowest {}", number(s.heldout_best, 3)) : "never measured");
    out += tile("Training loss", number(s.loss_first, 3) + " → " + number(s.loss_last, 3),
                "first step; mean of the last 20");
    out += tile("Tokens trained", count(s.tokens),
                std::isfinite(log.steps) ? fmt::format("{} of {} steps", grouped(s.steps), grouped(log.steps))
                                         : fmt::format("{} steps", grouped(s.steps)));
    out += tile("Speed", count(s.speed), "tokens per second, median of the steps") + "</div>\n<dl class=\"facts\">\n";
    const auto fact = [&](const char* what, const std::string& value) {
        if (!value.empty()) out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", what, value);
    };
    fact("Device", escape(clip(log.device, 120)));
    fact("Started", date(log.first_ms));
    fact("Duration", duration(s.seconds));
    fact("Ended", fmt::format("{}{}", log.stopped ? "by itself or by its user" : "killed, or it still runs",
                              log.starts > 1 ? fmt::format("; started {} times", log.starts) : ""));
    return out + "</dl>\n";
}

std::string curves_of(const TrainLog& log) {
    using namespace html;
    const svg::LineChart loss = step_chart("Loss over steps, held-out and training", "loss, nats per token",
                                           {series(log, "held-out", "heldout", &TrainLine::heldout_loss),
                                            series(log, "train", "train", &TrainLine::loss)});
    svg::LineChart rate =
        step_chart("Learning rate over steps", "learning rate", {series(log, "rate", "m0", &TrainLine::learning_rate)});
    rate.from_zero = true;
    rate.decimals = decimals_of(rate);
    svg::LineChart norm = step_chart("Norm of the gradient over steps", "norm of the gradient",
                                     {series(log, "norm", "m1", &TrainLine::grad_norm)});
    norm.from_zero = norm.robust = true;
    svg::LineChart speed = step_chart("Tokens per second over steps", "tokens per second",
                                      {series(log, "tokens/s", "m2", &TrainLine::tokens_per_second)});
    speed.from_zero = speed.robust = true;
    speed.unit = svg::Unit::count;
    std::string out = "<section>\n<h2>Loss</h2>\n";
    out += loss.series.empty()
               ? "<p class=\"note\">The log holds no loss.</p>\n"
               : figure("Cross entropy on held-out text and while training", "Lower is better.", full_width(loss, 380));
    out += "</section>\n<section>\n<h2>Steps</h2>\n<div class=\"pair\">\n";
    if (!rate.series.empty()) out += figure("Learning rate", "As the schedule says.", half_width(rate));
    if (!norm.series.empty())
        out += figure("Norm of the gradient", "Of all tensors together, before clipping.", half_width(norm));
    if (!speed.series.empty()) out += figure("Speed", "Without the time for the held-out loss.", half_width(speed));
    return out + "</div>\n</section>\n";
}

std::string made_of(const TrainLog& log) {
    using namespace html;
    std::string out = "<section>\n<h2>Options</h2>\n";
    out += log.options.empty() ? "<p class=\"note\">The log does not say them.</p>\n"
                               : fmt::format("<pre><code>{}</code></pre>\n", escape(log.options));
    if (log.bad_lines > 0 || log.half_line)
        out += fmt::format("<p class=\"note\">{} unreadable lines in the log were skipped.</p>\n",
                           grouped(static_cast<double>(log.bad_lines + log.half_line)));
    return out + fmt::format(
                     "<p class=\"note\">From the log of train in <code>{}</code>; nothing is measured "
                     "again.</p>\n</section>\n",
                     escape(clip(log.folder, 300)));
}

}  // namespace

std::optional<TrainLog> read_training(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "events.jsonl";
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
    TrainLog log;
    log.folder = folder.string();
    log.name = std::filesystem::absolute(folder).lexically_normal().filename().string();
    if (log.name.empty())
        log.name = std::filesystem::absolute(folder).lexically_normal().parent_path().filename().string();
    bool train = false;
    std::map<int64_t, TrainLine> lines;
    const LogFaults faults = read_log_lines(path, [&](const json& event) {
        const std::string kind = text(event, "event");
        const int64_t time_ms = integer(event, "t").value_or(0);
        if (time_ms > 0) {
            log.first_ms = log.first_ms == 0 ? time_ms : std::min(log.first_ms, time_ms);
            log.last_ms = std::max(log.last_ms, time_ms);
        }
        log.stopped = kind == "stop";
        if (kind == "start" && text(event, "role") == "train") {
            train = true;
            // What it begins after is its past; lines beyond were never saved, or are of a run that was begun anew.
            if (const auto begun = integer(event, "step")) lines.erase(lines.upper_bound(*begun), lines.end());
            ++log.starts;
            log.origin = text(event, "origin");
            log.device = text(event, "device");
            log.parameters = number(event, "parameters");
            log.steps = number(event, "steps");
            if (const auto options = event.find("options"); options != event.end())
                log.options = html::clip(options->dump(2, ' ', false, json::error_handler_t::replace), 20000);
        }
        if (kind != "step") return true;
        const std::optional<int64_t> step = integer(event, "step");
        if (!step || *step < 0 || *step > max_step) return false;
        lines.insert_or_assign(*step, line_of(event, *step));
        return true;
    });
    log.bad_lines = faults.bad_lines;
    log.half_line = faults.half_line;
    if (!train && lines.empty()) return std::nullopt;
    for (const auto& [step, line] : lines) log.lines.push_back(line);
    return log;
}

std::string summary_json(const TrainLog& log) {
    const Summary s = summarise(log);
    const auto known = [](double value) { return std::isfinite(value) ? json(value) : json(nullptr); };
    const json summary = {{"steps", s.steps},
                          {"parameters", known(log.parameters)},
                          {"tokens", known(s.tokens)},
                          {"loss_first", known(s.loss_first)},
                          {"loss_last", known(s.loss_last)},
                          {"heldout_loss_first", known(s.heldout_first)},
                          {"heldout_loss_last", known(s.heldout_last)},
                          {"heldout_loss_best", known(s.heldout_best)},
                          {"tokens_per_second", known(s.speed)},
                          {"seconds", known(s.seconds)}};
    return summary.dump(2) + "\n";
}

std::string render_report(const TrainLog& log) {
    return html::document(log.name, headline_of(log, summarise(log)) + curves_of(log) + made_of(log));
}

}  // namespace templar
