// Logs as they are found: well meant, not well formed. Private to the report.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace templar {

// A field's value; no_value, nothing or "" when it is absent, of another type, or not finite. Texts are cut at a
// bearable length.
double number(const nlohmann::json& object, const char* key);
std::optional<int64_t> integer(const nlohmann::json& object, const char* key);
bool boolean(const nlohmann::json& object, const char* key);
std::string text(const nlohmann::json& object, const char* key);

struct LogFaults {
    int64_t bad_lines = 0;   // neither JSON nor what an event looks like
    bool half_line = false;  // the file ends inside a line; that line is not among the bad ones
};
// Calls `event` with each line's object that has an "event"; it says false when the line is bad all the same.
LogFaults read_log_lines(const std::filesystem::path& path, const std::function<bool(const nlohmann::json&)>& event);

}  // namespace templar
