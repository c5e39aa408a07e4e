// Charts as inline SVG. Colours, dashes and fonts come from the page's CSS classes (report_style.h); here is
// only geometry. Names of series and rows may come from strangers: everything is escaped here.
#pragma once

#include <string>
#include <vector>

namespace templar::svg {

struct Point {
    double x = 0, y = 0;  // y not finite: the line is interrupted here
};

enum class Unit { plain, share, count, bytes };  // how values read: 3.21, 12 %, 10.3 k, 23.7 MB

struct Series {
    std::string name;
    std::string style;          // CSS classes of the line
    std::vector<Point> points;  // x ascending
    bool labelled = true;       // named at the right end and in tooltips
};

struct Rule {  // a horizontal reference line
    double y = 0;
    std::string name;
};

struct LineChart {
    std::string label;    // what the chart shows, for screen readers
    std::string y_title;  // above the axis
    std::vector<Series>
        series;  // earlier ones get their label first where space is short; later ones are drawn below
    std::vector<Rule> rules;
    Unit unit = Unit::plain;
    int decimals = 2;  // of values in labels and tooltips (plain and share)
    bool from_zero = false;
    bool robust = false;  // pin outliers to the edge instead of flattening everybody else
    std::string x_title = "window";  // what is counted on the x axis
};

struct Part {
    std::string name, style;
};
struct BarRow {
    std::string name;
    std::vector<double> values;  // one per part; not finite: 0
};
struct BarChart {  // stacked horizontal bars, in seconds
    std::string label;
    std::vector<Part> parts;
    std::vector<BarRow> rows;
    double rule = 0;  // a vertical reference line, e.g. the length of a window; 0: none
    std::string rule_name;
};

struct BandPanel {  // one small line with a band around it: a rating
    std::string title, style, note;
    std::vector<Point> middle, half_width, dashed;  // half_width[i] belongs to middle[i]
    double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
};

std::string line_chart(const LineChart& chart, int width, int height);
std::string bar_chart(const BarChart& chart, int width);
std::string band_panel(const BandPanel& panel);

// The piece of line that stands beside a name in a legend, and the box that stands beside a part's.
std::string line_swatch(const std::string& style);
std::string box_swatch(const std::string& style);

// Round values in steps of 1, 2 or 5 · 10^n covering [low, high] with about `wanted` of them, the first ≤
// low, the last ≥ high; `whole`: only integers.
std::vector<double> covering_ticks(double low, double high, int wanted, bool whole = false);

// Positions as near as possible to the wanted ones, in [low, high], in the same order, at least `gap` apart
// (as far apart as there is space when there is not enough).
std::vector<double> spread(const std::vector<double>& wanted, double gap, double low, double high);

}  // namespace templar::svg
