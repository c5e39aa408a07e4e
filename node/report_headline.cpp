// What a reader should know after ten seconds: the loss, whether the replicas agree, who got the weight. Then
// the loss curve.
#include "node/report_page.h"
#include "node/report_text.h"

#include <fmt/core.h>

#include <cctype>
#include <cmath>
#include <map>

namespace templar::html {

namespace {

std::string listed(const std::vector<std::string>& parts) {
    std::string text;
    for (size_t i = 0; i < parts.size(); ++i)
        text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
    return text;
}

// "4 miners trained one model of 3.25 M parameters together for 20 windows, with one copycat among them,
// scored by one validator"
std::string story(const RunLog& run) {
    std::map<std::string, int64_t> counts;
    for (const PeerInfo& peer : run.peers) ++counts[peer.role];
    const auto counted = [&](std::vector<std::string>& parts, const char* role, const char* one,
                             const char* many) {
        const int64_t count = counts[role];
        if (count > 0)
            parts.push_back(count == 1 ? fmt::format("one {}", one) : fmt::format("{} {}", count, many));
    };
    std::vector<std::string> trained, among, scored;
    counted(trained, "miner", "miner", "miners");
    counted(trained, "unknown", "peer of unknown role", "peers of unknown role");
    counted(among, "copycat", "copycat", "copycats");
    counted(among, "noise", "peer sending noise", "peers sending noise");
    counted(scored, "validator", "validator", "validators");
    std::string text = trained.empty() ? "Nobody known" : listed(trained);
    text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
    text += " trained one model";
    if (std::isfinite(run.model_parameters))
        text += fmt::format(" of {} parameters", count(run.model_parameters));
    text += fmt::format(" together for {} windows", grouped(static_cast<double>(window_count(run))));
    if (!among.empty()) text += fmt::format(", with {} among them", listed(among));
    if (!scored.empty()) text += fmt::format(", scored by {}", listed(scored));
    return text;
}

std::string lead(const Page& page) {
    const RunLog& run = page.run;
    std::string text = story(run);
    if (!std::isfinite(page.heldout.start)) return text + ".";
    const double gained = page.heldout.start - page.heldout.end;
    text += fmt::format(". On text that nobody trained on, the loss {} from {} to {} nats per token",
                        gained >= 0 ? "fell" : "rose", number(page.heldout.start, 2),
                        number(page.heldout.end, 2));
    const double below = run.unigram_loss - page.heldout.end;
    if (std::isfinite(below))
        text += fmt::format(", {} {} what word frequencies alone achieve ({})", number(std::abs(below), 2),
                            below >= 0 ? "below" : "above", number(run.unigram_loss, 2));
    return text + ".";
}

std::string weight_tile(const Page& page) {
    double honest = 0, copycat = 0, noise = 0;
    bool adversaries = false, weighed = false;
    for (const Standing& standing : page.ranking) {
        const std::string& role = page.peer(standing.peer).role;
        adversaries = adversaries || role == "copycat" || role == "noise";
        if (!std::isfinite(standing.last.weight)) continue;
        weighed = true;
        (role == "copycat" ? copycat : role == "noise" ? noise : honest) += standing.last.weight;
    }
    if (!weighed) return tile("Weight", "–", "no validator scored a window");
    if (adversaries)
        return tile("Weight to those who trained", percent(honest, 1),
                    fmt::format("copycat {}, noise {}", percent(copycat, 1), percent(noise, 1)));
    const Standing& first = page.ranking.front();
    return tile("Highest weight", percent(first.last.weight, 1), page.name(first.peer));
}

std::string tiles(const Page& page) {
    const RunLog& run = page.run;
    std::string out = "<div class=\"tiles\">\n";
    const double below = run.unigram_loss - page.heldout.end;
    std::string baseline = std::isfinite(run.unigram_loss) ? "unigram baseline " + number(run.unigram_loss, 2)
                                                           : "no unigram baseline known";
    if (std::isfinite(below))
        baseline += fmt::format("; {} {}", number(std::abs(below), 2), below >= 0 ? "below it" : "above it");
    out += tile("Held-out loss",
                std::isfinite(page.heldout.end)
                    ? number(page.heldout.start, 2) + " → " + number(page.heldout.end, 2)
                    : "–",
                baseline);
    const Agreement& agreement = page.agreement;
    if (agreement.replicas == 0)
        out += tile("Replicas", "–", "no log holds a state root");
    else if (agreement.replicas == 1)
        out += tile("Replicas", "1", "nothing to compare it with");
    else if (agreement.equal)
        out += tile("Replicas", fmt::format("{} agree", agreement.replicas),
                    agreement.window ? fmt::format("bit for bit, at window {}", *agreement.window)
                                     : "where their logs overlap");
    else
        out += tile(
            "Replicas", "differ",
            fmt::format("{} different states at window {}", agreement.camps.size(), agreement.camps_window));
    out += weight_tile(page);
    double tokens = 0;
    for (const Standing& standing : page.ranking)
        if (std::isfinite(standing.tokens)) tokens += standing.tokens;
    out += tile("Tokens trained", count(tokens),
                fmt::format("{} windows in {}", grouped(static_cast<double>(window_count(run))),
                            duration(run_seconds(run))));
    return out + "</div>\n";
}

std::string camp_table(const Page& page) {
    Table table("States", {"root", ">replicas", "who"});
    for (const Agreement::Camp& camp : page.agreement.camps) {
        std::string who;
        for (size_t i : camp.participants) who += (who.empty() ? "" : ", ") + page.participant(i);
        table.cell(fmt::format(R"(<code>{}</code>)", escape(clip(camp.root, 16))))
            .cell(std::to_string(camp.participants.size()))
            .wide_cell(who);
    }
    return table.html();
}

std::string verdict(const Page& page) {
    const Agreement& agreement = page.agreement;
    if (agreement.replicas == 0) return "";
    std::string silent;
    for (size_t i : agreement.silent) silent += (silent.empty() ? "" : ", ") + page.participant(i);
    if (!silent.empty()) silent = fmt::format(" Not counted, because their logs hold no root: {}.", silent);
    const std::string root = fmt::format(R"(<span class="hex">{}</span>)", escape(agreement.root));
    if (!agreement.equal)
        return fmt::format(
            "<section class=\"verdict bad\" role=\"alert\"><strong>The replicas do not agree.</strong>"
            "<p>The first two different states appear in window {}. The results below are not those of one "
            "model. At window {}:{}</p>{}</section>\n",
            *agreement.first_split, agreement.camps_window, silent, camp_table(page));
    if (agreement.replicas == 1)
        return fmt::format(
            "<section class=\"verdict good\"><strong>One replica: root</strong> {}<p class=\"soft\">Nothing "
            "to compare it with.{}</p></section>\n",
            root, silent);
    const std::string at =
        agreement.window ? fmt::format("after window {}, the last that all have logged", *agreement.window)
                         : std::string("wherever two logs hold the same window");
    std::string healed;
    if (agreement.first_split)
        healed = fmt::format(
            " States had differed earlier, between windows {} and {}; the replicas concerned caught up.",
            *agreement.first_split, agreement.camps_window);
    return fmt::format(
        "<section class=\"verdict good\"><strong>All {} replicas agree: root</strong> {}<p "
        "class=\"soft\">Compared {}.{}{}</p></section>\n",
        agreement.replicas, root, at, healed, silent);
}

std::string facts(const Page& page) {
    const RunLog& run = page.run;
    std::string out;
    const auto fact = [&](const char* what, const std::string& value, bool long_text = false) {
        if (value.empty() || value == "–") return;
        out += fmt::format("<div{}><dt>{}</dt><dd>{}</dd></div>\n", long_text ? R"( class="long")" : "", what,
                           value);
    };
    fact("Model", escape(clip(run.model_description, 200)), true);
    fact("Text", escape(clip(run.text, 200)), true);
    fact("Parameters", grouped(run.model_parameters));
    fact("Started", date(run.started_ms));
    fact("Duration", duration(run_seconds(run)));
    if (std::isfinite(run.window_ms)) fact("Window", fmt::format("{:.4g} s", run.window_ms / 1000));
    return fmt::format("<dl class=\"facts\">\n{}</dl>\n", out);
}

}  // namespace

std::string headline(const Page& page) {
    std::string out = fmt::format("<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n",
                                  escape(clip(page.run.name, 120)), lead(page));
    return out + verdict(page) + tiles(page) + facts(page);
}

std::string loss_section(const Page& page) {
    svg::LineChart chart;
    chart.label = "Loss over windows, held-out and training, against the unigram baseline";
    chart.y_title = "loss, nats per token";
    svg::Series heldout{"held-out", "heldout", {}, true}, train{"train", "train", {}, true};
    if (page.leader) {
        for (const WindowLine& line : page.leader->windows) {
            const auto window = static_cast<double>(line.window);
            if (std::isfinite(line.heldout_loss)) heldout.points.push_back({window, line.heldout_loss});
            if (std::isfinite(line.train_loss)) train.points.push_back({window, line.train_loss});
        }
    }
    if (train.points.empty()) {  // no validator: the mean over miners
        std::map<int64_t, std::pair<double, int64_t>> losses;
        for (const ParticipantLog& log : page.run.participants)
            for (const WindowLine& line : log.windows)
                if (std::isfinite(line.train_loss))
                    losses[line.window].first += line.train_loss, ++losses[line.window].second;
        for (const auto& [window, sum] : losses)
            train.points.push_back(
                {static_cast<double>(window), sum.first / static_cast<double>(sum.second)});
    }
    std::string out = "<section>\n<h2>Loss</h2>\n";
    if (heldout.points.empty() && train.points.empty())
        return out + "<p class=\"note\">No log holds a loss.</p></section>\n";
    chart.series = {heldout, train};
    if (std::isfinite(page.run.unigram_loss)) chart.rules.push_back({page.run.unigram_loss, "unigram"});
    out += figure(
        "Cross entropy on held-out text and while training",
        chart.rules.empty()
            ? "Lower is better."
            : "Lower is better. Below the dotted line the model knows more than how often each token occurs.",
        full_width(chart, 380));
    return out + "</section>\n";
}

}  // namespace templar::html
