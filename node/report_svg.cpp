#include "node/report_svg.h"

#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>

namespace templar::svg {

namespace {

constexpr double label_gap = 15;        // between the baselines of two labels
constexpr size_t max_line_points = 700; // more are thinned to the extremes of each stretch
constexpr size_t max_bands = 160;       // columns with a tooltip
constexpr size_t max_tooltip_lines = 14;
constexpr double largest = 1e30;        // keeps coordinates printable whatever a log says

struct Scale {
    double low, high, from, to;
    double operator()(double value) const {
        const double share = high > low ? (value - low) / (high - low) : 0.5;
        return from + std::clamp(share, 0.0, 1.0) * (to - from);
    }
};

bool usable(double value) { return std::isfinite(value) && std::abs(value) < largest; }

std::string coordinate(double value) {
    std::string text = fmt::format("{:.1f}", value);
    if (text.ends_with(".0")) text.resize(text.size() - 2);
    return text == "-0" ? "0" : text;
}

// DejaVu and Segoe digits and lower-case letters are about 0.56 em wide at the 12 units of .t.
double text_width(std::string_view text) { return 6.9 * static_cast<double>(html::length(text)); }

std::string text_at(double x, double y, const char* classes, std::string_view text) {
    return fmt::format(R"(<text class="{}" x="{}" y="{}">{}</text>)", classes, coordinate(x), coordinate(y),
                       html::escape(text));
}

std::string line_at(double x1, double y1, double x2, double y2, const char* classes) {
    return fmt::format(R"(<path class="{}" d="M{} {}L{} {}"/>)", classes, coordinate(x1), coordinate(y1), coordinate(x2),
                       coordinate(y2));
}

std::string open_svg(double width, double height, std::string_view label) {
    return fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)", coordinate(width), coordinate(height),
                       html::escape(label));
}

std::string value_text(double value, Unit unit, int decimals) {
    if (unit == Unit::share) return html::percent(value, decimals);
    if (unit == Unit::bytes) return html::bytes(value);
    return unit == Unit::count ? html::count(value) : html::number(value, decimals);
}

std::string tick_text(double value, double step, Unit unit) {
    if (unit == Unit::bytes || unit == Unit::count) {  // "20 MB" and "0", not "20.0 MB" and "0 B"
        std::string text = value_text(value, unit, 0);
        if (const size_t point = text.find('.'); point != std::string::npos) {
            const size_t end = std::min(text.find("\u00A0"), text.size());
            const size_t last = text.find_last_not_of('0', end - 1);
            const size_t keep = text[last] == '.' ? last : last + 1;
            text.erase(keep, end - keep);
        }
        return value == 0 ? "0" : text;
    }
    const double shown_step = unit == Unit::share ? step * 100 : step;
    const int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(shown_step) + 1e-9)), 0, 6);
    if (unit == Unit::share) return html::percent(value, decimals);
    return std::abs(value) >= 10000 ? html::count(value) : html::number(value, decimals);
}

// Thins a long line without losing its extremes: of each stretch the lowest and the highest point, in their order.
std::vector<Point> thinned(const std::vector<Point>& points) {
    if (points.size() <= max_line_points) return points;
    const size_t stretch = 2 * (points.size() + max_line_points - 1) / max_line_points;
    std::vector<Point> result;
    for (size_t start = 0; start < points.size(); start += stretch) {
        const auto begin = points.begin() + static_cast<ptrdiff_t>(start);
        const auto end = points.begin() + static_cast<ptrdiff_t>(std::min(start + stretch, points.size()));
        const auto [low, high] = std::minmax_element(begin, end, [](auto& a, auto& b) { return a.y < b.y; });
        result.push_back(*std::min(low, high));
        if (low != high) result.push_back(*std::max(low, high));
    }
    return result;
}

std::string path_data(const std::vector<Point>& points, const Scale& x, const Scale& y) {
    std::string data;
    bool drawing = false;
    for (size_t i = 0; i < points.size(); ++i) {
        if (!usable(points[i].y)) {
            drawing = false;
            continue;
        }
        data += fmt::format("{}{} {}", drawing ? 'L' : 'M', coordinate(x(points[i].x)), coordinate(y(points[i].y)));
        // A point alone between two gaps: a line of no length, which its round caps make a dot.
        const bool alone = !drawing && (i + 1 == points.size() || !usable(points[i + 1].y));
        if (alone) data += "h0";
        drawing = true;
    }
    return data;
}

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
    y_ticks_ = y_range.empty() ? covering_ticks(0, 1, 5) : covering_ticks(y_range.low, y_range.high, height_ < 260 ? 4 : 6);
    x_ticks_ = covering_ticks(x_range.low, x_range.high, narrow_ ? 4 : static_cast<int>(width_ / 80), true);

    double left = 0, right = 0;
    const double step = y_ticks_[1] - y_ticks_[0];
    for (double tick : y_ticks_) left = std::max(left, text_width(tick_text(tick, step, chart_.unit)));
    const double top = 26, bottom = height_ - 36;
    y_ = {y_ticks_.front(), y_ticks_.back(), bottom, top};

    const size_t name_limit = narrow_ ? 9 : 16;
    const auto room = static_cast<size_t>((bottom - top) / label_gap) + 1;
    for (const Rule& rule : chart_.rules)
        labels_.push_back({rule.name + " " + value_text(rule.y, chart_.unit, chart_.decimals), "t rule-label", 0, rule.y});
    for (const Series& series : chart_.series) {
        const Point* end = last_usable(series);
        if (!series.labelled || !end || labels_.size() >= room) continue;
        const std::string value = value_text(end->y, chart_.unit, chart_.decimals);
        labels_.push_back({html::clip(series.name, name_limit) + " " + value, "t end", end->x, end->y});
    }
    for (const EndLabel& label : labels_) right = std::max(right, text_width(label.text));
    x_ = {x_range.low, x_range.high, left + 10, width_ - right - (labels_.empty() ? 8 : 20)};
    // The last window always has its number; a round one that would touch it gives way.
    std::erase_if(x_ticks_, [&](double tick) { return tick < x_range.low || x_(tick) > x_.to - 12 - text_width(html::grouped(tick)); });
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
    return out + text_at((x_.from + x_.to) / 2, y_.from + 33, "t axis-title m", "window");
}

std::string LineChartDrawing::lines() const {
    std::string out;
    for (const Rule& rule : chart_.rules) out += line_at(x_.from, y_(rule.y), x_.to, y_(rule.y), "rule");
    for (auto series = chart_.series.rbegin(); series != chart_.series.rend(); ++series)
        out += fmt::format(R"(<path class="line {}" d="{}"/>)", series->style, path_data(thinned(series->points), x_, y_));
    for (auto series = chart_.series.rbegin(); series != chart_.series.rend(); ++series)
        if (const Point* end = series->labelled ? last_usable(*series) : nullptr)
            out += fmt::format(R"(<circle class="dot {}" cx="{}" cy="{}" r="3"/>)", series->style, coordinate(x_(end->x)),
                               coordinate(y_(end->y)));
    return out;
}

std::string LineChartDrawing::end_labels() const {
    std::vector<size_t> order(labels_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return labels_[a].y < labels_[b].y; });
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
    std::string text = fmt::format("window {}", html::grouped(window));
    size_t lines = 0;
    for (const Series& series : chart_.series) {
        const auto found = std::lower_bound(series.points.begin(), series.points.end(), window,
                                            [](const Point& point, double x) { return point.x < x; });
        if (!series.labelled || found == series.points.end() || found->x != window || !usable(found->y)) continue;
        if (++lines > max_tooltip_lines) break;
        text += "\n" + html::escape(html::clip(series.name, 40)) + "  " + value_text(found->y, chart_.unit, chart_.decimals + 1);
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
                           tooltip(shown[k]), coordinate(from), coordinate(y_.to), coordinate(std::max(to - from, 0.5)),
                           coordinate(y_.from - y_.to));
        out += line_at(x, y_.to, x, y_.from, "hair") + "</g>";
    }
    return out;
}

std::string LineChartDrawing::draw() {
    lay_out();
    return open_svg(width_, height_, chart_.label) + axes() + lines() + end_labels() + tooltips() + "</svg>";
}

}  // namespace

std::string line_chart(const LineChart& chart, int width, int height) { return LineChartDrawing(chart, width, height).draw(); }

std::string bar_chart(const BarChart& chart, int width) {
    const bool narrow = width < 420;  // names stand above their bars
    const double pitch = narrow ? 46 : 32, thickness = 20, top = 22;
    double longest = chart.rule, left = 0;
    const auto total_of = [](const BarRow& row) {
        double total = 0;
        for (double value : row.values) total += usable(value) && value > 0 ? value : 0;
        return total;
    };
    for (const BarRow& row : chart.rows) {
        longest = std::max(longest, total_of(row));
        if (!narrow) left = std::max(left, text_width(html::clip(row.name, 18)) + 12);
    }
    const std::vector<double> ticks = covering_ticks(0, longest > 0 ? longest : 1, narrow ? 4 : 8);
    const double bottom = top + pitch * static_cast<double>(chart.rows.size());
    const Scale x{0, std::max(longest, ticks[1] / 2), left, width - 64.0};
    std::string out = open_svg(width, bottom + 40, chart.label);
    for (double tick : ticks) {
        if (tick > x.high) break;
        out += line_at(x(tick), top - 4, x(tick), bottom + 4, tick == 0 ? "axis" : "grid");
        out += text_at(x(tick), bottom + 18, tick == 0 && narrow ? "t tick" : "t tick m", html::number(tick, ticks[1] < 1 ? 2 : 0));
    }
    out += text_at((x.from + x.to) / 2, bottom + 34, "t axis-title m", "seconds per window, mean");
    double y = top;
    for (const BarRow& row : chart.rows) {
        const double bar = narrow ? y + 18 : y + 5;
        out += narrow ? text_at(0, y + 13, "t", html::clip(row.name, 30))
                      : text_at(left - 10, bar + 14, "t e", html::clip(row.name, 18));
        double sum = 0;
        for (size_t i = 0; i < row.values.size() && i < chart.parts.size(); ++i) {
            const double value = usable(row.values[i]) && row.values[i] > 0 ? row.values[i] : 0;
            const double from = x(sum), to = x(sum + value);
            sum += value;
            if (to - from < 0.3) continue;
            const std::string title = fmt::format("{}: {} {} of {}", html::escape(html::clip(row.name, 40)), html::escape(chart.parts[i].name),
                                                  html::seconds(value), html::seconds(total_of(row)));
            out += fmt::format(R"(<g><title>{}</title><rect class="part {}" x="{}" y="{}" width="{}" height="{}"/>)", title,
                               chart.parts[i].style, coordinate(from), coordinate(bar),
                               coordinate(std::max(to - from - 1, 0.5)), coordinate(thickness));
            if (to - from > text_width(chart.parts[i].name) + 12)
                out += fmt::format(R"(<text class="t on {}" x="{}" y="{}">{}</text>)", chart.parts[i].style,
                                   coordinate(from + 6), coordinate(bar + 14), html::escape(chart.parts[i].name));
            out += "</g>";
        }
        out += text_at(width - 2, bar + 14, "t total e", html::seconds(sum));
        y += pitch;
    }
    if (chart.rule > 0) {
        out += line_at(x(chart.rule), top - 6, x(chart.rule), bottom + 4, "rule");
        out += text_at(x(chart.rule), 11, "t rule-label e", chart.rule_name);
    }
    return out + "</svg>";
}

std::string band_panel(const BandPanel& panel) {
    const double width = 230, height = 146, top = 28, bottom = height - 20;
    const bool sensible = usable(panel.y_low) && usable(panel.y_high) && panel.y_low < panel.y_high;
    const double low = sensible ? panel.y_low : 0, high = sensible ? panel.y_high : 1, pad = 0.05 * (high - low);
    std::vector<double> ticks = covering_ticks(low, high, 5);
    const double step = ticks[1] - ticks[0];
    const Scale y{low - pad, high + pad, bottom, top};
    std::erase_if(ticks, [&](double tick) { return tick < y.low || tick > y.high; });
    double left = 0;
    for (double tick : ticks) left = std::max(left, text_width(tick_text(tick, step, Unit::plain)));
    const Scale x{panel.x_low, panel.x_high, left + 12, width - 6};
    const std::string label = html::clip(panel.title, 40) + ": " + panel.note;
    std::string out = open_svg(width, height, label) + fmt::format("<title>{}</title>", html::escape(label));
    out += text_at(0, 13, "t strong", html::clip(panel.title, 14)) + text_at(width - 6, 13, "t e", panel.note);
    for (double tick : ticks) {
        out += line_at(x.from, y(tick), x.to, y(tick), tick == 0 ? "axis" : "grid");
        out += text_at(x.from - 6, y(tick) + 4, "t tick e", tick_text(tick, step, Unit::plain));
    }
    out += text_at(x.from, height - 5, "t tick", html::grouped(panel.x_low));
    out += text_at(x.to, height - 5, "t tick e", "window " + html::grouped(panel.x_high));
    std::vector<Point> upper, lower;
    for (size_t i = 0; i < panel.middle.size() && i < panel.half_width.size(); ++i) {
        const double middle = panel.middle[i].y, half = panel.half_width[i].y;
        if (!usable(middle) || !usable(half)) continue;
        upper.push_back({panel.middle[i].x, middle + half});
        lower.push_back({panel.middle[i].x, middle - half});
    }
    upper = thinned(upper), lower = thinned(lower);
    std::reverse(lower.begin(), lower.end());
    std::string outline = path_data(upper, x, y);
    for (const Point& point : lower) outline += fmt::format("L{} {}", coordinate(x(point.x)), coordinate(y(point.y)));
    if (upper.size() > 1) out += fmt::format(R"(<path class="area {}" d="{}Z"/>)", panel.style, outline);
    out += fmt::format(R"(<path class="line {}" d="{}"/>)", panel.style, path_data(thinned(panel.middle), x, y));
    out += fmt::format(R"(<path class="ordinal" d="{}"/>)", path_data(thinned(panel.dashed), x, y));
    return out + "</svg>";
}

std::string line_swatch(const std::string& style) {
    return fmt::format(R"(<svg class="swatch" viewBox="0 0 30 10" aria-hidden="true"><path class="line {}" d="M2 5H28"/></svg>)",
                       style);
}

std::string box_swatch(const std::string& style) {
    return fmt::format(
        R"(<svg class="box" viewBox="0 0 12 12" aria-hidden="true"><rect class="part {}" width="12" height="12" rx="2"/></svg>)", style);
}

std::vector<double> covering_ticks(double low, double high, int wanted, bool whole) {
    if (!usable(low) || !usable(high)) low = 0, high = 1;
    if (low > high) std::swap(low, high);
    if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high)) || high == low) {
        const double pad = whole ? 1 : std::max(std::abs(low) * 0.05, 0.01);
        high += pad;
        if (!whole) low -= pad;
    }
    const double rough = (high - low) / std::max(wanted - 1, 1);
    const double power = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * power;
    for (double factor : {1.0, 2.0, 5.0})
        if (factor * power >= rough * 0.99) {
            step = factor * power;
            break;
        }
    if (whole) step = std::max(step, 1.0);
    const double first = std::floor(low / step + 1e-6), last = std::ceil(high / step - 1e-6);
    std::vector<double> ticks;
    for (int64_t i = 0; i <= static_cast<int64_t>(last - first); ++i) ticks.push_back((first + static_cast<double>(i)) * step);
    if (ticks.size() == 1) ticks.push_back(ticks[0] + step);
    return ticks;
}

std::vector<double> spread(const std::vector<double>& wanted, double gap, double low, double high) {
    const size_t n = wanted.size();
    if (n > 1) gap = std::min(gap, (high - low) / static_cast<double>(n - 1));
    // Pool neighbours that are too near into blocks; a block sits at the mean of what its members want.
    struct Block {
        size_t first, size;
        double sum;  // of wanted[i] − gap·(i − first)
        double start(double gap, double low, double high) const {
            const double span = gap * static_cast<double>(size - 1);
            return std::clamp(sum / static_cast<double>(size), low, std::max(low, high - span));
        }
    };
    std::vector<Block> blocks;
    for (size_t i = 0; i < n; ++i) {
        blocks.push_back({i, 1, wanted[i]});
        while (blocks.size() > 1) {
            const Block& last = blocks.back();
            Block& before = blocks[blocks.size() - 2];
            const double before_end = before.start(gap, low, high) + gap * static_cast<double>(before.size);
            if (last.start(gap, low, high) >= before_end - 1e-9) break;
            before.sum += last.sum - gap * static_cast<double>(before.size * last.size);
            before.size += last.size;
            blocks.pop_back();
        }
    }
    std::vector<double> placed;
    for (const Block& block : blocks)
        for (size_t i = 0; i < block.size; ++i) placed.push_back(block.start(gap, low, high) + gap * static_cast<double>(i));
    return placed;
}

}  // namespace templar::svg
