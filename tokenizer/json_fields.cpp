#include "tokenizer/json_fields.h"

#include "base/error.h"

#include <unordered_set>

namespace templar {

namespace {

constexpr int deepest = 32;

std::string shortened(const nlohmann::json& value) {
    if (value.is_object()) return fmt::format("an object of {} members", value.size());
    if (value.is_array()) return fmt::format("an array of {} elements", value.size());
    std::string text = value.dump(-1, ' ', true);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

}  // namespace

nlohmann::json parse_json_file(std::string_view text, std::string_view what) {
    using Event = nlohmann::json::parse_event_t;
    std::vector<std::unordered_set<std::string>> keys(deepest + 2);
    const auto check = [&](int depth, Event event, nlohmann::json& parsed) {
        if (depth > deepest) fail(ExitCode::input, "{}: nested more than {} levels deep", what, deepest);
        const auto level = static_cast<size_t>(depth);
        if (event == Event::object_start) keys[level + 1].clear();
        if (event == Event::key && !keys[level].insert(parsed.get<std::string>()).second)
            fail(ExitCode::input, "{}: the key {} stands twice in one object", what, shortened(parsed));
        return true;
    };
    try {
        return nlohmann::json::parse(text, check);
    } catch (const nlohmann::json::exception& error) {
        const std::string_view message =
            error.what();  // "[json.exception.parse_error.101] parse error at line …"
        fail(ExitCode::input, "{}: not valid JSON: {}", what,
             message.substr(std::min(message.size(), message.find("] ") + 2)));
    }
}

std::string json_string(std::string_view text) {
    return nlohmann::json(text).dump();
}

JsonField JsonField::member(const std::string& name) const {
    if (!value_->is_object()) refuse("an object");
    const std::string path = path_.empty() ? name : path_ + "." + name;
    const auto found = value_->find(name);
    if (found == value_->end()) fail(ExitCode::input, "{}: {} is missing", what_, path);
    return {*found, what_, path};
}

JsonField JsonField::element(size_t index) const {
    const std::string path = fmt::format("{}[{}]", path_, index);
    if (index >= array_size()) fail(ExitCode::input, "{}: {} is missing", what_, path);
    return {(*value_)[index], what_, path};
}

size_t JsonField::object_size() const {
    if (!value_->is_object()) refuse("an object");
    return value_->size();
}

size_t JsonField::array_size() const {
    if (!value_->is_array()) refuse("an array");
    return value_->size();
}

std::string_view JsonField::string() const {
    if (!value_->is_string()) refuse("a string");
    return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
    if (!value_->is_boolean()) refuse("true or false");
    return value_->get<bool>();
}

int64_t JsonField::integer(int64_t least, int64_t most) const {
    const bool in_range =
        value_->is_number_integer() &&
        (!value_->is_number_unsigned() || value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) &&
        value_->get<int64_t>() >= least && value_->get<int64_t>() <= most;
    if (!in_range) refuse(fmt::format("a whole number from {} to {}", least, most));
    return value_->get<int64_t>();
}

void JsonField::refuse(std::string_view expected) const {
    fail(ExitCode::input, "{}: {}: expected {}, found {}", what_, path_.empty() ? "the file" : path_,
         expected, shortened(*value_));
}

}  // namespace templar
