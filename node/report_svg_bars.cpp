// Stacked bars, small panels, and swatches for legends.
#include "node/report_svg_draw.h"
#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>

namespace templar::svg {

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
        out += text_at(x(tick), bottom + 18, tick == 0 && narrow ? "t tick" : "t tick m",
                       html::number(tick, ticks[1] < 1 ? 2 : 0));
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
            const std::string title = fmt::format("{}: {} {} of {}", html::escape(html::clip(row.name, 40)),
                                                  html::escape(chart.parts[i].name), html::seconds(value),
                                                  html::seconds(total_of(row)));
            out += fmt::format(
                R"(<g><title>{}</title><rect class="part {}" x="{}" y="{}" width="{}" height="{}"/>)", title,
                chart.parts[i].style, coordinate(from), coordinate(bar),
                coordinate(std::max(to - from - 1, 0.5)), coordinate(thickness));
            if (to - from > text_width(chart.parts[i].name) + 12)
                out += fmt::format(R"(<text class="t on {}" x="{}" y="{}">{}</text>)", chart.parts[i].style,
                                   coordinate(from + 6), coordinate(bar + 14),
                                   html::escape(chart.parts[i].name));
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
    const double low = sensible ? panel.y_low : 0, high = sensible ? panel.y_high : 1,
                 pad = 0.05 * (high - low);
    std::vector<double> ticks = covering_ticks(low, high, 5);
    const double step = ticks[1] - ticks[0];
    const Scale y{low - pad, high + pad, bottom, top};
    std::erase_if(ticks, [&](double tick) { return tick < y.low || tick > y.high; });
    double left = 0;
    for (double tick : ticks) left = std::max(left, text_width(tick_text(tick, step, Unit::plain)));
    const Scale x{panel.x_low, panel.x_high, left + 12, width - 6};
    const std::string label = html::clip(panel.title, 40) + ": " + panel.note;
    std::string out = open_svg(width, height, label) + fmt::format("<title>{}</title>", html::escape(label));
    out +=
        text_at(0, 13, "t strong", html::clip(panel.title, 14)) + text_at(width - 6, 13, "t e", panel.note);
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
    for (const Point& point : lower)
        outline += fmt::format("L{} {}", coordinate(x(point.x)), coordinate(y(point.y)));
    if (upper.size() > 1) out += fmt::format(R"(<path class="area {}" d="{}Z"/>)", panel.style, outline);
    out +=
        fmt::format(R"(<path class="line {}" d="{}"/>)", panel.style, path_data(thinned(panel.middle), x, y));
    out += fmt::format(R"(<path class="ordinal" d="{}"/>)", path_data(thinned(panel.dashed), x, y));
    return out + "</svg>";
}

std::string line_swatch(const std::string& style) {
    return fmt::format(
        R"(<svg class="swatch" viewBox="0 0 30 10" aria-hidden="true"><path class="line {}" d="M2 5H28"/></svg>)",
        style);
}

std::string box_swatch(const std::string& style) {
    return fmt::format(
        R"(<svg class="box" viewBox="0 0 12 12" aria-hidden="true"><rect class="part {}" width="12" height="12" rx="2"/></svg>)",
        style);
}

}  // namespace templar::svg
