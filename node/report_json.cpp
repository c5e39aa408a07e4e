#include "node/report_json.h"

#include "base/file.h"
#include "node/report.h"
#include "node/report_text.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace templar {

using nlohmann::json;

namespace {
constexpr size_t max_line_bytes = 16 << 20;  // 250 peers with evidence take about 200 KiB
constexpr size_t max_text = 1000;            // code points of a name, message or piece of evidence
}  // namespace

double number(const json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number()) return no_value;
    const double value = found->get<double>();
    return std::isfinite(value) ? value : no_value;
}

std::optional<int64_t> integer(const json& object, const char* key) {
    const double value = number(object, key);
    if (value != std::floor(value) || std::abs(value) > 0x1p53) return std::nullopt;  // NaN differs from itself
    return static_cast<int64_t>(value);
}

bool boolean(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::string text(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? html::clip(found->get_ref<const std::string&>(), max_text)
                                                       : "";
}

LogFaults read_log_lines(const std::filesystem::path& path, const std::function<bool(const json&)>& event) {
    LogFaults faults;
    const MappedFile file(path);
    std::string_view rest = as_text(file.bytes());
    const auto good = [&](std::string_view line) {
        if (line.size() > max_line_bytes) return false;
        const json object = json::parse(line.begin(), line.end(), nullptr, false);
        return object.is_object() && !text(object, "event").empty() && event(object);
    };
    while (!rest.empty()) {
        const size_t end = rest.find('\n');
        const std::string_view line = rest.substr(0, end);
        const bool whole = end != std::string_view::npos;
        rest.remove_prefix(whole ? end + 1 : rest.size());
        if (line.find_first_not_of(" \t\r") == std::string_view::npos || good(line)) continue;
        if (whole)
            ++faults.bad_lines;
        else
            faults.half_line = true;
    }
    return faults;
}

}  // namespace templar
