// tokenizer.json, read strictly: what is missing or of another kind is named by its path in the file.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace templar {

// A value and its place in a file, for error messages.
class Field {
  public:
    Field(const nlohmann::json& value, std::string_view what, std::string path = "")
        : value_(&value), what_(what), path_(std::move(path)) {}

    const nlohmann::json& value() const { return *value_; }
    // Whether this object has the member and it is not null.
    bool has(const std::string& name) const { return value_->contains(name) && !(*value_)[name].is_null(); }
    // The member or element; throws Error(input) when this is not an object or array that has it.
    Field member(const std::string& name) const;
    Field element(size_t index) const;

    // Throw Error(input) when the value is of another kind or out of range.
    size_t object_size() const;
    size_t array_size() const;
    std::string_view string() const;
    bool boolean() const;
    int64_t integer(int64_t least, int64_t most) const;

    std::string_view what() const { return what_; }  // the file's name, in errors
    // Throws Error(input): "<what>: <path>: expected <expected>, found <the value, shortened>".
    [[noreturn]] void refuse(std::string_view expected) const;

  private:
    const nlohmann::json* value_;
    std::string_view what_;
    std::string path_;
};

}  // namespace templar
