#include "eval/row.h"

#include "base/file.h"
#include "base/strict_json.h"

#include <nlohmann/json.hpp>

#include <charconv>

namespace templar {

namespace {

constexpr int64_t most_bytes = int64_t{4} << 30;

// The next line of `text` from `at` on, which is moved behind it.
std::string_view next_line(std::string_view text, size_t& at) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

nlohmann::json parsed(std::string_view line, const std::string& where) {
    nlohmann::json value = parse_json(line, where);
    if (!value.is_object()) fail(ExitCode::input, "{}: expected a JSON object, found {}", where, value.type_name());
    return value;
}

}  // namespace

Row::Row(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}

void Row::refuse(std::string_view problem) const {
    fail(ExitCode::input, "{}: {}", where_, problem);
}

const nlohmann::json& Row::field(const char* key) const {
    const auto found = object_->find(key);
    if (found != object_->end()) return *found;
    std::string keys;
    for (const auto& item : object_->items()) keys += (keys.empty() ? "" : ", ") + item.key().substr(0, 40);
    fail(ExitCode::input, "{}: there is no field \"{}\", only: {}", where_, key, keys.substr(0, 200));
}

bool Row::has(const char* key) const {
    return object_->contains(key);
}

bool Row::is_text(const char* key) const {
    return has(key) && field(key).is_string();
}

bool Row::is_object(const char* key) const {
    return has(key) && field(key).is_object();
}

std::string Row::text(const char* key) const {
    const nlohmann::json& value = field(key);
    if (!value.is_string()) refuse(fmt::format("\"{}\": expected a text, found {}", key, value.type_name()));
    return value.get<std::string>();
}

std::vector<std::string> Row::texts(const char* key) const {
    const nlohmann::json& list = field(key);
    if (!list.is_array() || list.empty())
        refuse(fmt::format("\"{}\": expected a list of texts, found {}", key,
                           list.is_array() ? "an empty one" : list.type_name()));
    std::vector<std::string> texts;
    for (const nlohmann::json& value : list) {
        if (!value.is_string())
            refuse(fmt::format("\"{}\": expected a list of texts, found {} in it", key, value.type_name()));
        texts.push_back(value.get<std::string>());
    }
    return texts;
}

bool Row::boolean(const char* key) const {
    const nlohmann::json& value = field(key);
    return value.is_boolean() ? value.get<bool>() : integer(key, 0, 1) == 1;
}

int64_t Row::integer(const char* key, int64_t low, int64_t high) const {
    const nlohmann::json& value = field(key);
    int64_t number = 0;
    bool good = value.is_number_integer();
    if (good && value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) good = false;
    if (good) number = value.get<int64_t>();
    if (value.is_string()) {
        const std::string& text = value.get_ref<const std::string&>();
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        good = error == std::errc() && end == text.data() + text.size();
    }
    if (!good || number < low || number > high)
        refuse(fmt::format("\"{}\": expected a number from {} to {}, found {}", key, low, high,
                           value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 60)));
    return number;
}

Row Row::object(const char* key) const {
    const nlohmann::json& value = field(key);
    if (!value.is_object()) refuse(fmt::format("\"{}\": expected an object, found {}", key, value.type_name()));
    return {value, fmt::format("{}, \"{}\"", where_, key)};
}

std::vector<Row> Row::objects(const char* key) const {
    const nlohmann::json& list = field(key);
    if (!list.is_array() || list.empty())
        refuse(fmt::format("\"{}\": expected a list of objects, found {}", key,
                           list.is_array() ? "an empty one" : list.type_name()));
    std::vector<Row> rows;
    for (const nlohmann::json& value : list) {
        if (!value.is_object())
            refuse(fmt::format("\"{}\": expected a list of objects, found {} in it", key, value.type_name()));
        rows.emplace_back(value, fmt::format("{}, \"{}\"", where_, key));
    }
    return rows;
}

int64_t for_each_row(std::string_view jsonl, std::string_view labels, std::string_view what,
                     const std::function<void(const Row&)>& use) {
    int64_t rows = 0;
    size_t at = 0, label_at = 0;
    for (int64_t number = 1; at < jsonl.size(); ++number) {
        const std::string_view line = next_line(jsonl, at);
        if (line.find_first_not_of(" \t") == line.npos) continue;
        const std::string where = fmt::format("{} line {}", what, number);
        nlohmann::json object = parsed(line, where);
        if (!labels.empty()) {
            if (label_at >= labels.size()) fail(ExitCode::input, "{}: the file of labels has no line for it", where);
            object["label"] = std::string(next_line(labels, label_at));
        }
        use(Row(object, where));
        ++rows;
    }
    if (rows == 0) fail(ExitCode::input, "{} has no rows, expected a JSON object on each line", what);
    if (label_at < labels.size()) fail(ExitCode::input, "{}: {} rows, but more lines of labels", what, rows);
    return rows;
}

RowFile for_each_row(const std::filesystem::path& path, const std::filesystem::path& labels,
                     const std::function<void(const Row&)>& use) {
    const std::string jsonl = read_text_file(path, most_bytes);
    const std::string label_lines = labels.empty() ? "" : read_text_file(labels, most_bytes);
    RowFile file{.path = path, .hash = Sha256().update(jsonl).update(label_lines).finish()};
    file.rows = for_each_row(jsonl, label_lines, path.string(), use);
    return file;
}

}  // namespace templar
