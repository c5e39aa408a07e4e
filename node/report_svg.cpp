// Line charts.
#include "node/report_svg_draw.h"
#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>

namespace templar::svg {

namespace {

constexpr double label_gap = 15;   // between the baselines of two labels
constexpr size_t max_bands = 160;  // columns with a tooltip
constexpr size_t max_tooltip_lines = 14;

const Point* last_usable(const Series& series) {
    for (auto point = series.points.rbegin(); point != series.points.rend(); ++point)
        if (usable(point->y)) return &*point;
    return nullptr;
}

struct Range {
    double low = INFINITY, high = -INFINITY;
    void include(double value) {
        if (usable(value)) low = std::min(low, value), high = std::max(high, value);
    }
    bool empty() const { return low > high; }
};

Range value_range(const LineChart& chart) {
    Range range;
    std::vector<double> values;
    for (const Series& series : chart.series)
        for (const Point& point : series.points)
            if (usable(point.y)) values.push_back(point.y);
    std::sort(values.begin(), values.end());
    if (chart.robust && values.size() >= 20) {
        // Tukey's outer fences.
        const double first = values[values.size() / 4], third = values[values.size() * 3 / 4];
        const double low = first - 3 * (third - first), high = third + 3 * (third - first);
        for (double value : values)
            if (value >= low && value <= high) range.include(value);
    } else if (!values.empty()) {
        range.include(values.front()), range.include(values.back());
    }
    for (const Rule& rule : chart.rules) range.include(rule.y);
    if (chart.from_zero) range.include(0);
    return range;
}

// What stands at the right end of a line.
struct EndLabel {
    std::string text;
    const char* classes;
    double x, y;  // where the line ends
};

class LineChartDrawing {
  public:
    LineChartDrawing(const LineChart& chart, int width, int height)
        : chart_(chart), width_(width), height_(height), narrow_(width < 420) {}
    std::string draw();

  private:
    void lay_out();
    std::string axes() const;
    std::string lines() const;
    std::string end_labels() const;
    std::string tooltips() const;
    std::string tooltip(double window) const;

    const LineChart& chart_;
    const double width_, height_;
    const bool narrow_;
    std::vector<double> x_ticks_, y_ticks_;
    std::vector<EndLabel> labels_;
    Scale x_{}, y_{};
};

void LineChartDrawing::lay_out() {
    Range x_range;
    for (const Series& series : chart_.series)
        for (const Point& point : series.points) x_range.include(point.x);
    if (x_range.empty()) x_range.low = 0, x_range.high = 1;
    const Range y_range = value_range(chart_);
    y_ticks_ = y_range.empty() ? covering_ticks(0, 1, 5)
                               : covering_ticks(y_range.low, y_range.high, height_ < 260 ? 4 : 6);
    x_ticks_ = covering_ticks(x_range.low, x_range.high, narrow_ ? 4 : static_cast<int>(width_ / 80), true);

    double left = 0, right = 0;
    const double step = y_ticks_[1] - y_ticks_[0];
    for (double tick : y_ticks_) left = std::max(left, text_width(tick_text(tick, step, chart_.unit)));
    const double top = 26, bottom = height_ - 36;
    y_ = {y_ticks_.front(), y_ticks_.back(), bottom, top};

    const size_t name_limit = narrow_ ? 9 : 16;
    const auto room = static_cast<size_t>((bottom - top) / label_gap) + 1;
    for (const Rule& rule : chart_.rules)
        labels_.push_back(
            {rule.name + " " + value_text(rule.y, chart_.unit, chart_.decimals), "t rule-label", 0, rule.y});
    for (const Series& series : chart_.series) {
        const Point* end = last_usable(series);
        if (!series.labelled || !end || labels_.size() >= room) continue;
        const std::string value = value_text(end->y, chart_.unit, chart_.decimals);
        labels_.push_back({html::clip(series.name, name_limit) + " " + value, "t end", end->x, end->y});
    }
    for (const EndLabel& label : labels_) right = std::max(right, text_width(label.text));
    const double last_tick = text_width(html::grouped(x_range.high));
    x_ = {x_range.low, x_range.high, left + 10,
          width_ - std::max(right + (labels_.empty() ? 8 : 20), last_tick / 2)};
    // The last window always has its number; a round one that would touch it gives way.
    std::erase_if(x_ticks_, [&](double tick) {
        return tick < x_range.low || x_(tick) > x_.to - 12 - text_width(html::grouped(tick));
    });
    x_ticks_.push_back(x_range.high);
    for (EndLabel& label : labels_)
        label.x = std::string_view(label.classes) == "t end" ? x_(label.x) : x_.to, label.y = y_(label.y);
}

std::string LineChartDrawing::axes() const {
    std::string out = text_at(0, 12, "t axis-title", chart_.y_title);
    const double step = y_ticks_[1] - y_ticks_[0];
    for (double tick : y_ticks_) {
        const bool base = tick == y_ticks_.front() || tick == 0;
        out += line_at(x_.from, y_(tick), x_.to, y_(tick), base ? "axis" : "grid");
        out += text_at(x_.from - 7, y_(tick) + 4, "t tick e", tick_text(tick, step, chart_.unit));
    }
    for (double tick : x_ticks_) {
        out += line_at(x_(tick), y_.from, x_(tick), y_.from + 4, "axis");
        out += text_at(x_(tick), y_.from + 18, "t tick m", html::grouped(tick));
    }
    return out + text_at((x_.from + x_.to) / 2, y_.from + 33, "t axis-title m", chart_.x_title);
}

std::string LineChartDrawing::lines() const {
    std::string out;
    for (const Rule& rule : chart_.rules) out += line_at(x_.from, y_(rule.y), x_.to, y_(rule.y), "rule");
    for (auto series = chart_.series.rbegin(); series != chart_.series.rend(); ++series)
        out += fmt::format(
            R"(<path class="line {}" d="{}"/>)", series->style,
            path_data(thinned(series->points, series->labelled ? max_line_points : max_faint_points), x_,
                      y_));
    for (auto series = chart_.series.rbegin(); series != chart_.series.rend(); ++series)
        if (const Point* end = series->labelled ? last_usable(*series) : nullptr)
            out += fmt::format(R"(<circle class="dot {}" cx="{}" cy="{}" r="3"/>)", series->style,
                               coordinate(x_(end->x)), coordinate(y_(end->y)));
    return out;
}

std::string LineChartDrawing::end_labels() const {
    std::vector<size_t> order(labels_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return labels_[a].y < labels_[b].y; });
    std::vector<double> wanted;
    for (size_t i : order) wanted.push_back(labels_[i].y);
    const std::vector<double> placed = spread(wanted, label_gap, y_.to, y_.from);
    std::string out;
    for (size_t i = 0; i < order.size(); ++i) {
        const EndLabel& label = labels_[order[i]];
        if (label.x < x_.to - 4 || std::abs(placed[i] - label.y) > 3)
            out += line_at(std::min(label.x + 4, x_.to + 3), label.y, x_.to + 11, placed[i], "leader");
        out += text_at(x_.to + 14, placed[i] + 4, label.classes, label.text);
    }
    return out;
}

std::string LineChartDrawing::tooltip(double window) const {
    std::string text = fmt::format("{} {}", chart_.x_title, html::grouped(window));
    size_t lines = 0;
    for (const Series& series : chart_.series) {
        const auto found = std::lower_bound(series.points.begin(), series.points.end(), window,
                                            [](const Point& point, double x) { return point.x < x; });
        if (!series.labelled || found == series.points.end() || found->x != window || !usable(found->y))
            continue;
        if (++lines > max_tooltip_lines) break;
        text += "\n" + html::escape(html::clip(series.name, 40)) + "  " +
                value_text(found->y, chart_.unit, chart_.decimals + 1);
    }
    return text;
}

// One transparent column per window: pointing anywhere above a window reads all lines at once.
std::string LineChartDrawing::tooltips() const {
    std::set<double> windows;
    for (const Series& series : chart_.series)
        for (const Point& point : series.points) windows.insert(point.x);
    std::vector<double> shown;
    const size_t every = windows.size() / max_bands + 1;
    size_t i = 0;
    for (double window : windows)
        if (i++ % every == 0) shown.push_back(window);
    std::string out;
    for (size_t k = 0; k < shown.size(); ++k) {
        const double x = x_(shown[k]);
        const double from = k == 0 ? x_.from : (x_(shown[k - 1]) + x) / 2;
        const double to = k + 1 == shown.size() ? x_.to : (x + x_(shown[k + 1])) / 2;
        out += fmt::format(R"(<g class="band"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}"/>)",
                           tooltip(shown[k]), coordinate(from), coordinate(y_.to),
                           coordinate(std::max(to - from, 0.5)), coordinate(y_.from - y_.to));
        out += line_at(x, y_.to, x, y_.from, "hair") + "</g>";
    }
    return out;
}

std::string LineChartDrawing::draw() {
    lay_out();
    return open_svg(width_, height_, chart_.label) + axes() + lines() + end_labels() + tooltips() + "</svg>";
}

}  // namespace

std::string line_chart(const LineChart& chart, int width, int height) {
    return LineChartDrawing(chart, width, height).draw();
}

}  // namespace templar::svg
