// The frame of the page: what sections share, and the order in which they stand.
#include "node/report_page.h"

#include "node/report_style.h"
#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>

namespace templar {

namespace html {

namespace {

// Miners take the palette in order of uid, so that a miner keeps its colour whatever its rank.
std::vector<std::string> line_styles(const RunLog& run) {
    constexpr size_t miner_styles = 6;
    std::vector<size_t> order(run.peers.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return run.peers[a].uid < run.peers[b].uid; });
    std::vector<std::string> styles(run.peers.size());
    size_t miners = 0;
    for (size_t i : order) {
        const std::string& role = run.peers[i].role;
        if (role == "copycat" || role == "noise")
            styles[i] = role;
        else if (role == "validator")
            styles[i] = "other";
        else
            styles[i] = fmt::format("m{}", miners++ % miner_styles);
    }
    return styles;
}

}  // namespace

Page::Page(const RunLog& log)
    : run(log),
      leader(leading_validator(log)),
      ranking(standings(log)),
      agreement(root_agreement(log)),
      heldout(heldout_range(log)),
      styles(line_styles(log)) {}

std::string Page::name(size_t index) const {
    const std::string& name = run.peers[index].name;
    return name.empty() ? "–" : escape(clip(name, 40));
}

std::string Page::participant(size_t index) const {
    return name(run.participants[index].peer);
}

std::string tile(std::string_view what, const std::string& value, const std::string& note) {
    return fmt::format("<div class=\"tile\"><span>{}</span><b>{}</b><small>{}</small></div>\n", what, value,
                       note);
}

std::string figure(std::string_view title, std::string_view note, const std::string& body) {
    return fmt::format("<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>{}</figure>\n", title, note,
                       body);
}

std::string full_width(const svg::LineChart& chart, int height) {
    return fmt::format(R"(<div class="wide">{}</div><div class="mid">{}</div><div class="slim">{}</div>)",
                       svg::line_chart(chart, 1000, height), svg::line_chart(chart, 660, height),
                       svg::line_chart(chart, 358, 280));
}

std::string full_width(const svg::BarChart& chart) {
    return fmt::format(R"(<div class="wide">{}</div><div class="mid">{}</div><div class="slim">{}</div>)",
                       svg::bar_chart(chart, 1000), svg::bar_chart(chart, 660), svg::bar_chart(chart, 358));
}

std::string half_width(const svg::LineChart& chart, int height) {
    return fmt::format(R"(<div class="wide">{}</div><div class="mid">{}</div><div class="slim">{}</div>)",
                       svg::line_chart(chart, 480, height), svg::line_chart(chart, 560, height),
                       svg::line_chart(chart, 358, height));
}

Table::Table(std::string_view label, std::vector<std::string> headings)
    : label_(label), headings_(std::move(headings)) {}

Table& Table::add(const std::string& html, bool wide) {
    const size_t column = cells_++ % headings_.size();
    if (column == 0) body_ += "<tr>";
    const char* attribute = wide                                 ? R"( class="wrap")"
                            : headings_[column].starts_with('>') ? R"( class="r")"
                                                                 : "";
    body_ += fmt::format("<td{}>{}</td>", attribute, html);
    if (column + 1 == headings_.size()) body_ += "</tr>\n";
    return *this;
}

Table& Table::cell(const std::string& html) {
    return add(html, false);
}
Table& Table::wide_cell(const std::string& html) {
    return add(html, true);
}

std::string Table::html() const {
    std::string head;
    for (const std::string& heading : headings_) {
        const bool right = heading.starts_with('>');
        head += fmt::format(R"(<th scope="col"{}>{}</th>)", right ? R"( class="r")" : "",
                            heading.substr(right ? 1 : 0));
    }
    return fmt::format(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" "
        "tabindex=\"0\"><table><thead><tr>{}</tr></thead>\n<tbody>{}</tbody></table></div>\n",
        label_, head, body_);
}

}  // namespace html

std::string html::document(std::string_view name, const std::string& body) {
    // The policy is a second wall behind the escaping: even markup that slipped through could load and run
    // nothing.
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{} · training "
        "report</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        html::escape(html::clip(name, 80)), html::style_sheet, body);
}

std::string render_report(const RunLog& run) {
    const html::Page page(run);
    return html::document(run.name, html::headline(page) + html::loss_section(page) + html::score_section(page) +
                                        html::peer_table(page) + html::penalty_section(page) + html::time_section(page) +
                                        html::log_section(page) + html::made_section(page));
}

}  // namespace templar
