// What the charts are drawn with. Private to report_svg*.cpp.
#pragma once

#include "node/report_svg.h"

#include <string_view>

namespace templar::svg {

inline constexpr size_t max_line_points = 700;   // longer lines are thinned
inline constexpr size_t max_faint_points = 160;  // of a line in the background

// From values to coordinates; what lies outside stays at the edge.
struct Scale {
    double low, high, from, to;
    double operator()(double value) const;
};

// Finite, and small enough to compute with.
bool usable(double value);

// A number in an attribute: one decimal at most.
std::string coordinate(double value);
// About how wide the text of class "t" is.
double text_width(std::string_view text);

std::string open_svg(double width, double height, std::string_view label);
std::string text_at(double x, double y, const char* classes, std::string_view text);
std::string line_at(double x1, double y1, double x2, double y2, const char* classes);

std::string value_text(double value, Unit unit, int decimals);
std::string tick_text(double value, double step, Unit unit);

// At most about `limit` points without losing the extremes: of each stretch the lowest and the highest, in
// their order.
std::vector<Point> thinned(const std::vector<Point>& points, size_t limit = max_line_points);
// The "d" of a path; interrupted where a y is not usable.
std::string path_data(const std::vector<Point>& points, const Scale& x, const Scale& y);

}  // namespace templar::svg
