#include "tokenizer/json_field.h"

#include "base/error.h"

namespace templar {

using nlohmann::json;

namespace {

std::string shortened(const json& value) {
    if (value.is_object()) return fmt::format("an object of {} members", value.size());
    if (value.is_array()) return fmt::format("an array of {} elements", value.size());
    std::string text = value.dump(-1, ' ', true);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

}  // namespace

Field Field::member(const std::string& name) const {
    if (!value_->is_object()) refuse("an object");
    const std::string path = path_.empty() ? name : path_ + "." + name;
    const auto found = value_->find(name);
    if (found == value_->end()) fail(ExitCode::input, "{}: {} is missing", what_, path);
    return {*found, what_, path};
}

Field Field::element(size_t index) const {
    const std::string path = fmt::format("{}[{}]", path_, index);
    if (index >= array_size()) fail(ExitCode::input, "{}: {} is missing", what_, path);
    return {(*value_)[index], what_, path};
}

size_t Field::object_size() const {
    if (!value_->is_object()) refuse("an object");
    return value_->size();
}

size_t Field::array_size() const {
    if (!value_->is_array()) refuse("an array");
    return value_->size();
}

std::string_view Field::string() const {
    if (!value_->is_string()) refuse("a string");
    return value_->get_ref<const std::string&>();
}

bool Field::boolean() const {
    if (!value_->is_boolean()) refuse("true or false");
    return value_->get<bool>();
}

int64_t Field::integer(int64_t least, int64_t most) const {
    const bool in_range =
        value_->is_number_integer() &&
        (!value_->is_number_unsigned() || value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) &&
        value_->get<int64_t>() >= least && value_->get<int64_t>() <= most;
    if (!in_range) refuse(fmt::format("a whole number from {} to {}", least, most));
    return value_->get<int64_t>();
}

void Field::refuse(std::string_view expected) const {
    fail(ExitCode::input, "{}: {}: expected {}, found {}", what_, path_.empty() ? "the file" : path_, expected,
         shortened(*value_));
}

}  // namespace templar
