// The page's sections and what they share. Private to the report.
#pragma once

#include "node/report.h"
#include "node/report_svg.h"

#include <string>
#include <string_view>
#include <vector>

namespace templar::html {

// A run with everything that several sections need, computed once.
struct Page {
    explicit Page(const RunLog& log);

    const RunLog& run;
    const ParticipantLog* leader;  // null: no validator logged a window
    std::vector<Standing> ranking;
    Agreement agreement;
    LossRange heldout;
    std::vector<std::string> styles;  // CSS class of each peer's lines

    const PeerInfo& peer(size_t index) const { return run.peers[index]; }
    std::string name(size_t index) const;         // escaped, of bearable length
    std::string participant(size_t index) const;  // the same, of a log
};

// A page of this name around the sections.
std::string document(std::string_view name, const std::string& body);

// One of the figures at the page's top: what it is, the value, a remark.
std::string tile(std::string_view what, const std::string& value, const std::string& note);

std::string figure(std::string_view title, std::string_view note, const std::string& body);
// A chart at the width of the page, drawn again for tablets and for phones, so that its text keeps its size.
std::string full_width(const svg::LineChart& chart, int height);
std::string full_width(const svg::BarChart& chart);
// A chart that stands beside another one.
std::string half_width(const svg::LineChart& chart, int height = 280);

// A table in a box that scrolls by itself. Headings starting with '>' are of right-aligned columns; cells are
// HTML already.
class Table {
  public:
    Table(std::string_view label, std::vector<std::string> headings);
    Table& cell(const std::string& html);
    Table& wide_cell(const std::string& html);  // text that may take several lines
    std::string html() const;
    bool empty() const { return cells_ == 0; }

  private:
    Table& add(const std::string& html, bool wide);
    std::string label_;
    std::vector<std::string> headings_;
    std::string body_;
    size_t cells_ = 0;
};

std::string headline(const Page& page);  // report_headline.cpp
std::string loss_section(const Page& page);
std::string score_section(const Page& page);  // report_peers.cpp
std::string peer_table(const Page& page);
std::string penalty_section(const Page& page);
std::string time_section(const Page& page);  // report_logs.cpp
std::string log_section(const Page& page);
std::string made_section(const Page& page);

}  // namespace templar::html
