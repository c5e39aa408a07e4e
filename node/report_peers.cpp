// What the validator made of each peer: scores, weights and ratings over time, the standing at the end, penalties.
#include "node/report_page.h"
#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace templar::html {

namespace {

constexpr size_t max_labelled = 12;     // lines with a name; more would be unreadable
constexpr size_t max_background = 60;   // lines without
constexpr size_t max_panels = 24;
constexpr size_t max_groups_shown = 8;
constexpr size_t max_penalties_listed = 2000;
constexpr size_t max_evidence = 400;

using Value = double (*)(const PeerScore&);

bool adversary(const PeerInfo& peer) { return peer.role == "copycat" || peer.role == "noise"; }

// The peers that get a line of their own: best ranked first, but never without the adversaries, whom readers look for.
std::vector<size_t> labelled_peers(const Page& page) {
    std::vector<size_t> honest, others;
    for (const Standing& standing : page.ranking) (adversary(page.peer(standing.peer)) ? others : honest).push_back(standing.peer);
    others.resize(std::min(others.size(), max_labelled / 3));
    honest.resize(std::min(honest.size(), max_labelled - others.size()));
    honest.insert(honest.end(), others.begin(), others.end());
    return honest;
}

std::vector<svg::Series> peer_series(const Page& page, Value value) {
    std::map<size_t, std::vector<svg::Point>> points;
    for (const WindowLine& line : page.leader->windows) {
        for (const PeerScore& score : line.scores) points[score.peer].push_back({static_cast<double>(line.window), value(score)});
        // A peer that the validator no longer lists has a gap, not a straight line across its absence.
        for (auto& [peer, path] : points)
            if (path.back().x != static_cast<double>(line.window) && !line.scores.empty())
                path.push_back({static_cast<double>(line.window), no_value});
    }
    std::vector<svg::Series> series;
    const std::vector<size_t> labelled = labelled_peers(page);
    for (size_t peer : labelled) series.push_back({page.peer(peer).name, page.styles[peer], points[peer], true});
    for (const Standing& standing : page.ranking) {
        if (series.size() >= labelled.size() + max_background) break;
        if (std::find(labelled.begin(), labelled.end(), standing.peer) == labelled.end())
            series.push_back({page.peer(standing.peer).name, "other", points[standing.peer], false});
    }
    return series;
}

std::string legend(const Page& page) {
    std::string out = "<ul class=\"legend\">";
    const std::vector<size_t> labelled = labelled_peers(page);
    for (size_t peer : labelled)
        out += fmt::format("<li>{}{} <small>{}</small></li>", svg::line_swatch(page.styles[peer]), page.name(peer), escape(clip(page.peer(peer).role, 20)));
    if (page.ranking.size() > labelled.size())
        out += fmt::format("<li>{}{} more, unnamed</li>", svg::line_swatch("other"), page.ranking.size() - labelled.size());
    return out + "</ul>\n";
}

std::string score_chart(const Page& page, const char* label, const char* y_title, Value value, svg::Unit unit, int decimals,
                        bool robust = false) {
    svg::LineChart chart;
    chart.label = label;
    chart.y_title = y_title;
    chart.series = peer_series(page, value);
    chart.unit = unit;
    chart.decimals = decimals;
    chart.from_zero = true;
    chart.robust = robust;
    return half_width(chart);
}

std::string rating_panels(const Page& page) {
    std::string out = "<div class=\"panels\">\n";
    double y_low = INFINITY, y_high = -INFINITY;
    std::vector<svg::BandPanel> panels;
    std::vector<size_t> peers = labelled_peers(page);
    for (const Standing& standing : page.ranking)
        if (std::find(peers.begin(), peers.end(), standing.peer) == peers.end() && peers.size() < max_panels) peers.push_back(standing.peer);
    for (size_t peer : peers) {
        svg::BandPanel panel;
        panel.title = page.peer(peer).name;
        panel.style = page.styles[peer];
        panel.note = "–";
        for (const WindowLine& line : page.leader->windows) {
            const auto score = std::find_if(line.scores.begin(), line.scores.end(), [&](const PeerScore& s) { return s.peer == peer; });
            if (score == line.scores.end() || !std::isfinite(score->mu)) continue;
            const auto window = static_cast<double>(line.window);
            const double sigma = std::isfinite(score->sigma) ? score->sigma : 0;
            panel.middle.push_back({window, score->mu});
            panel.half_width.push_back({window, sigma});
            panel.dashed.push_back({window, score->ordinal});
            y_low = std::min({y_low, score->mu - sigma, std::isfinite(score->ordinal) ? score->ordinal : score->mu});
            y_high = std::max(y_high, score->mu + sigma);
            panel.note = number(score->mu, 1) + " ± " + number(score->sigma, 1);
        }
        if (!panel.middle.empty()) panels.push_back(std::move(panel));
    }
    for (svg::BandPanel& panel : panels) {
        panel.x_low = static_cast<double>(page.leader->windows.front().window);
        panel.x_high = static_cast<double>(page.leader->windows.back().window);
        panel.y_low = y_low, panel.y_high = y_high;
        out += svg::band_panel(panel) + "\n";
    }
    return out + "</div>\n";
}

std::string weight_cell(const Page& page, const Standing& standing) {
    const double weight = standing.last.weight;
    if (!std::isfinite(weight)) return "–";
    return fmt::format(R"(<span class="share {}"><i style="width:{:.1f}%"></i></span><b>{}</b>)", page.styles[standing.peer],
                       std::clamp(weight, 0.0, 1.0) * 100, percent(weight, 1));
}

std::string peer_cell(const Page& page, size_t peer) { return svg::line_swatch(page.styles[peer]) + page.name(peer); }

std::string uid_text(const PeerInfo& peer) { return peer.uid < 0 ? "–" : std::to_string(peer.uid); }

std::string windows_text(const PenaltyGroup& group) {
    if (group.count == 1) return fmt::format("{}", group.last_window);
    return fmt::format("{}–{} <span class=\"soft\">× {}</span>", group.first_window, group.last_window, group.count);
}

std::string reason_text(const std::string& reason) {
    std::string words = reason.empty() ? "–" : escape(clip(reason, 40));
    std::replace(words.begin(), words.end(), '_', ' ');
    return words;
}

}  // namespace

std::string score_section(const Page& page) {
    std::string out = "<section>\n<h2>Peers</h2>\n";
    if (!page.leader || page.ranking.empty())
        return out + "<p class=\"note\">No validator log with windows: no scores to show.</p></section>\n";
    size_t validators = 0;
    for (const ParticipantLog& log : page.run.participants) validators += log.validator ? 1 : 0;
    if (validators > 1)
        out += fmt::format("<p class=\"note\">As {} scored them, the longest of {} validator logs.</p>\n", page.name(page.leader->peer), validators);
    out += legend(page) + "<div class=\"pair\">\n";
    out += figure("Final score", "Rating × binary average × sync. What weights are made of.",
                  score_chart(page, "Final score of each peer over windows", "final score F", [](const PeerScore& s) { return s.score; },
                              svg::Unit::plain, 1));
    out += figure("Weight", "Each peer’s share of the reward: F², normalised.",
                  score_chart(page, "Weight of each peer over windows", "share of all weights", [](const PeerScore& s) { return s.weight; },
                              svg::Unit::share, 1));
    out += figure("Own pages minus random pages",
                  "Who trained on its assigned pages improves those most. A copy or noise favours neither, so its gap should stay near zero.",
                  score_chart(page, "Improvement on own pages minus improvement on random pages", "relative improvement, own − random",
                              [](const PeerScore& s) { return s.evaluated ? s.own - s.random : no_value; }, svg::Unit::share, 2, true));
    out += figure("Binary average", "Running mean of the sign of that gap. At or below zero the final score is zero.",
                  score_chart(page, "Binary average of each peer over windows", "binary average B",
                              [](const PeerScore& s) { return s.binary; }, svg::Unit::plain, 2));
    out += "</div>\n";
    out += figure("Rating", "μ ± σ of a Plackett–Luce match per window; the thin line is the ordinal μ − 3σ that counts. One scale for all.",
                  rating_panels(page));
    return out + "</section>\n";
}

std::string peer_table(const Page& page) {
    if (page.ranking.empty()) return "";
    Table table("Peers at the end", {">uid", "peer", "role", ">tokens", ">own", ">random", ">rating", ">μ ± σ", ">binary", ">sync", ">final score", ">weight"});
    for (const Standing& standing : page.ranking) {
        const PeerInfo& peer = page.peer(standing.peer);
        const PeerScore& last = standing.last;
        table.cell(uid_text(peer)).cell(peer_cell(page, standing.peer)).cell(escape(clip(peer.role, 20)));
        table.cell(count(standing.tokens)).cell(percent(standing.own_mean, 2)).cell(percent(standing.random_mean, 2));
        table.cell(number(last.ordinal, 2)).cell(number(last.mu, 1) + " ± " + number(last.sigma, 1)).cell(number(last.binary, 2));
        table.cell(number(last.sync, 2)).cell(number(last.score, 2)).cell(weight_cell(page, standing));
    }
    return "<section>\n<h2>Standing at the end</h2>\n<p class=\"note\">Ranked by final score. Own and random: mean relative improvement of the loss "
           "on the peer’s own and on random pages.</p>\n" + table.html() + "</section>\n";
}

std::string penalty_section(const Page& page) {
    if (!page.leader) return "";
    const std::vector<PenaltyGroup> groups = penalty_groups(*page.leader);
    std::string out = "<section>\n<h2>Penalties</h2>\n";
    if (groups.empty()) return out + "<p class=\"note\">None: every payload that was due came in time and well-formed.</p></section>\n";
    out += "<p class=\"note\">Newest first. The same reason in consecutive windows is one row, with the evidence of the last.</p>\n";
    Table table("Penalties", {"windows", "peer", "reason", "evidence"});
    for (size_t i = 0; i < std::min(groups.size(), max_groups_shown); ++i) {
        const PenaltyGroup& group = groups[i];
        table.cell(windows_text(group)).cell(peer_cell(page, group.peer));
        table.cell(reason_text(group.reason)).wide_cell(escape(clip(group.evidence, max_evidence)));
    }
    out += table.html();
    const std::vector<PenaltyLine>& all = page.leader->penalties;
    Table full("All penalties", {"window", "peer", "reason", "evidence"});
    const size_t listed = std::min(all.size(), max_penalties_listed);
    for (auto line = all.rbegin(); line != all.rbegin() + static_cast<ptrdiff_t>(listed); ++line)
        full.cell(std::to_string(line->window)).cell(page.name(line->peer)).cell(reason_text(line->reason)).wide_cell(
            escape(clip(line->evidence, max_evidence)));
    out += fmt::format("<details><summary>All {} penalties, window by window</summary>\n", grouped(static_cast<double>(all.size())));
    if (listed < all.size())
        out += fmt::format("<p class=\"note\">The newest {}; the others are in the validator’s events.jsonl.</p>\n", grouped(static_cast<double>(listed)));
    return out + full.html() + "</details>\n</section>\n";
}

}  // namespace templar::html
