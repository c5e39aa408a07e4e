// A row of a data set: a JSON object whose fields are read by name, with errors that say which file, line and field.
#pragma once

#include "base/error.h"
#include "base/sha256.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

// A view of one JSON object; the object outlives it. Each reader throws Error(input) when the field is missing or of
// another type; numbers may also be written as strings ("1"), as some files do.
class Row {
  public:
    // `where` begins its errors, e.g. "piqa.jsonl line 12".
    Row(const nlohmann::json& object, std::string where);

    bool has(const char* key) const;
    bool is_text(const char* key) const;
    bool is_object(const char* key) const;
    std::string text(const char* key) const;
    std::vector<std::string> texts(const char* key) const;
    bool boolean(const char* key) const;  // true and false, or 1 and 0
    int64_t integer(const char* key, int64_t low, int64_t high) const;
    // The right one of `choices` by its number, 0 for the first.
    int64_t gold(const char* key, size_t choices) const { return integer(key, 0, static_cast<int64_t>(choices) - 1); }
    Row object(const char* key) const;
    std::vector<Row> objects(const char* key) const;

    [[noreturn]] void refuse(std::string_view problem) const;

  private:
    const nlohmann::json& field(const char* key) const;
    const nlohmann::json* object_;
    std::string where_;
};

// The rows of a JSONL file; empty lines are passed over. labels: a file with a label on each line for rows that have
// none (PIQA's original form); empty: there is none. Throws Error(input) naming file and line.
struct RowFile {
    std::filesystem::path path;
    Digest hash{};  // SHA-256 of the file (and of the labels')
    int64_t rows = 0;
};
RowFile for_each_row(const std::filesystem::path& path, const std::filesystem::path& labels,
                     const std::function<void(const Row&)>& use);
// The same of bytes in memory.
int64_t for_each_row(std::string_view jsonl, std::string_view labels, std::string_view what,
                     const std::function<void(const Row&)>& use);

}  // namespace templar
