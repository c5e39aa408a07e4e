#include "node/report_svg_draw.h"

#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace templar::svg {

namespace {

constexpr double largest = 1e30;  // keeps coordinates printable whatever a log says

}  // namespace

double Scale::operator()(double value) const {
    const double share = high > low ? (value - low) / (high - low) : 0.5;
    return from + std::clamp(share, 0.0, 1.0) * (to - from);
}

bool usable(double value) {
    return std::isfinite(value) && std::abs(value) < largest;
}

std::string coordinate(double value) {
    std::string text = fmt::format("{:.1f}", value);
    if (text.ends_with(".0")) text.resize(text.size() - 2);
    return text == "-0" ? "0" : text;
}

// DejaVu and Segoe digits and lower-case letters are about 0.56 em wide at the 12 units of .t.
double text_width(std::string_view text) {
    return 6.9 * static_cast<double>(html::length(text));
}

std::string text_at(double x, double y, const char* classes, std::string_view text) {
    return fmt::format(R"(<text class="{}" x="{}" y="{}">{}</text>)", classes, coordinate(x), coordinate(y),
                       html::escape(text));
}

std::string line_at(double x1, double y1, double x2, double y2, const char* classes) {
    return fmt::format(R"(<path class="{}" d="M{} {}L{} {}"/>)", classes, coordinate(x1), coordinate(y1),
                       coordinate(x2), coordinate(y2));
}

std::string open_svg(double width, double height, std::string_view label) {
    return fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)", coordinate(width),
                       coordinate(height), html::escape(label));
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

std::vector<Point> thinned(const std::vector<Point>& points, size_t limit) {
    if (points.size() <= limit) return points;
    const size_t stretch = 2 * (points.size() + limit - 1) / limit;
    std::vector<Point> result;
    for (size_t start = 0; start < points.size(); start += stretch) {
        const auto begin = points.begin() + static_cast<ptrdiff_t>(start);
        const auto end = points.begin() + static_cast<ptrdiff_t>(std::min(start + stretch, points.size()));
        auto low = end, high = end;
        for (auto point = begin; point != end; ++point) {
            if (!usable(point->y)) continue;
            if (low == end || point->y < low->y) low = point;
            if (high == end || point->y > high->y) high = point;
        }
        if (low == end) low = high = begin;  // nothing here: the gap stays a gap
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
        data += fmt::format("{}{} {}", drawing ? 'L' : 'M', coordinate(x(points[i].x)),
                            coordinate(y(points[i].y)));
        // A point alone between two gaps: a line of no length, which its round caps make a dot.
        const bool alone = !drawing && (i + 1 == points.size() || !usable(points[i + 1].y));
        if (alone) data += "h0";
        drawing = true;
    }
    return data;
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
    for (int64_t i = 0; i <= static_cast<int64_t>(last - first); ++i)
        ticks.push_back((first + static_cast<double>(i)) * step);
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
        for (size_t i = 0; i < block.size; ++i)
            placed.push_back(block.start(gap, low, high) + gap * static_cast<double>(i));
    return placed;
}

}  // namespace templar::svg
