#include "node/report_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace templar::html {

namespace {

constexpr const char* dash = "–";
constexpr const char* no_break = "\u00A0";  // between a number and its unit
constexpr char32_t replacement = 0xFFFD;

// Takes one code point off the front of `text`; U+FFFD (and one byte) where it is not UTF-8.
char32_t take(std::string_view& text) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    const size_t size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    char32_t point = size == 1 ? lead : lead & (0x7F >> size);
    bool good = lead < 0x80 || (lead >= 0xC2 && lead <= 0xF4 && text.size() >= size);
    for (size_t i = 1; good && i < size; ++i) {
        good = (byte(i) & 0xC0) == 0x80;
        point = point << 6 | (byte(i) & 0x3F);
    }
    constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    good = good && point >= smallest[size] && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
    text.remove_prefix(good ? size : 1);
    return good ? point : replacement;
}

void put(std::string& out, char32_t point) {
    if (point < 0x80) {
        out += static_cast<char>(point);
    } else if (point < 0x800) {
        out += static_cast<char>(0xC0 | point >> 6);
        out += static_cast<char>(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        out += static_cast<char>(0xE0 | point >> 12);
        out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
        out += static_cast<char>(0x80 | (point & 0x3F));
    } else {
        out += static_cast<char>(0xF0 | point >> 18);
        out += static_cast<char>(0x80 | (point >> 12 & 0x3F));
        out += static_cast<char>(0x80 | (point >> 6 & 0x3F));
        out += static_cast<char>(0x80 | (point & 0x3F));
    }
}

bool disturbs(char32_t point) {
    return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x061C || (point >= 0x200B && point <= 0x200F) ||
           (point >= 0x2028 && point <= 0x202E) || (point >= 0x2060 && point <= 0x206F) || point == 0xFEFF ||
           (point & 0xFFFE) == 0xFFFE;
}

// fmt's minus sign is a hyphen; in tables and on axes the real one reads better.
std::string with_minus(std::string text) {
    if (text.starts_with('-')) text.replace(0, 1, "−");
    return text;
}

std::string scaled(double value, const char* const* units, int unit_count) {
    int unit = 0;
    double size = std::abs(value);
    // 999.6 would print as 1000: it belongs to the next unit.
    while (size >= 999.5 && unit + 1 < unit_count) size /= 1000, value /= 1000, ++unit;
    if (size >= 1e6) return with_minus(fmt::format("{:.3g}{}{}", value, no_break, units[unit]));
    const bool whole = unit == 0 && value == std::floor(value);
    const int decimals = whole || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
    const std::string text = with_minus(fmt::format("{:.{}f}", value, decimals));
    return *units[unit] ? text + no_break + units[unit] : text;
}

}  // namespace

std::string escape(std::string_view text) {
    std::string out;
    out.reserve(text.size() + text.size() / 8);
    while (!text.empty()) {
        const char32_t point = take(text);
        switch (point) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\'': out += "&#39;"; break;
            case '\n':
            case '\t': out += ' '; break;
            default: put(out, disturbs(point) ? replacement : point);
        }
    }
    return out;
}

size_t length(std::string_view text) {
    size_t points = 0;
    for (; !text.empty(); ++points) take(text);
    return points;
}

std::string clip(std::string_view text, size_t characters) {
    std::string_view rest = text;
    size_t points = 0, keep = 0;
    while (!rest.empty()) {
        if (points + 1 == characters) keep = text.size() - rest.size();
        take(rest);
        if (++points > characters) return std::string(text.substr(0, keep)) + "…";
    }
    return std::string(text);
}

std::string number(double value, int decimals) {
    if (!std::isfinite(value)) return dash;
    if (std::abs(value) >= 1e7) return with_minus(fmt::format("{:.3g}", value));
    std::string text = fmt::format("{:.{}f}", value, decimals);
    if (text.find_first_not_of("-0.") == std::string::npos && text.starts_with('-')) text.erase(0, 1);
    return with_minus(std::move(text));
}

std::string percent(double share, int decimals) {
    return std::isfinite(share) ? number(share * 100, decimals) + no_break + "%" : dash;
}

std::string count(double value) {
    constexpr const char* units[] = {"", "k", "M", "G", "T", "P"};
    return std::isfinite(value) ? scaled(value, units, 6) : dash;
}

std::string bytes(double value) {
    constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    return std::isfinite(value) ? scaled(value, units, 6) : dash;
}

std::string grouped(double value) {
    if (!std::isfinite(value) || std::abs(value) >= 1e15) return number(value, 0);
    std::string text = fmt::format("{:.0f}", std::abs(value));
    for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
    return value < 0 ? "−" + text : text;
}

std::string duration(double value) {
    if (!std::isfinite(value) || value < 0 || value > 1e12) return dash;
    const auto total = static_cast<int64_t>(value + 0.5);
    if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
    if (total >= 60) return fmt::format("{}:{:02}", total / 60, total % 60);
    return fmt::format("{}{}s", total, no_break);
}

std::string seconds(double value) {
    if (!std::isfinite(value)) return dash;
    const double size = std::abs(value);
    return number(value, size >= 99.95 ? 0 : size >= 0.9995 ? 1 : size >= 0.00995 ? 2 : 3) + no_break + "s";
}

std::string date(int64_t ms) {
    constexpr int64_t year_10000 = 253402300800000;
    if (ms <= 0 || ms >= year_10000) return dash;
    const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(ms)};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date{day};
    const auto minute = std::chrono::duration_cast<std::chrono::minutes>(time - day).count();
    return fmt::format("{}-{:02}-{:02} {:02}:{:02} UTC", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                       static_cast<unsigned>(date.day()), minute / 60, minute % 60);
}

}  // namespace templar::html
