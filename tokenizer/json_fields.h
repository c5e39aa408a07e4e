// Reading JSON that others wrote: repeated keys are refused, and every error names the file and the field.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace templar {

// Throws Error(input) when the text is not JSON, repeats a key within an object or nests more than 32 levels
// deep.
nlohmann::json parse_json_file(std::string_view text, std::string_view what);

// The text, which must be UTF-8, as a JSON string with its quotes.
std::string json_string(std::string_view text);

// A value and its place in a file, for error messages.
class JsonField {
  public:
    JsonField(const nlohmann::json& value, std::string_view what, std::string path = "")
        : value_(&value), what_(what), path_(std::move(path)) {}

    const nlohmann::json& value() const { return *value_; }
    // Whether this object has the member and it is not null.
    bool has(const std::string& name) const { return value_->contains(name) && !(*value_)[name].is_null(); }
    // The member or element; throws Error(input) when this is not an object or array that has it.
    JsonField member(const std::string& name) const;
    JsonField element(size_t index) const;

    // Throw Error(input) when the value is of another kind or out of range.
    size_t object_size() const;
    size_t array_size() const;
    std::string_view string() const;
    bool boolean() const;
    int64_t integer(int64_t least, int64_t most) const;

    // Throws Error(input): "<what>: <path>: expected <expected>, found <the value, shortened>".
    [[noreturn]] void refuse(std::string_view expected) const;

  private:
    const nlohmann::json* value_;
    std::string_view what_;
    std::string path_;
};

}  // namespace templar
