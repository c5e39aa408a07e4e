// The answers of an evaluation, a JSON object on each line: what others compare with, and the state from which an
// interrupted evaluation goes on.
//
//   {"rows": "templar-eval 1", "model": "<sha256>", "tokenizer": "<sha256>", …}   what all answers depend on
//   {"begin": "piqa", "version": 1.0, "sha256": "<of the data file>"}             what those of one task do
//   {"task": "piqa", "i": 7, "gold": 0, "ll": [-272.9, -286.8], …}
#pragma once

#include "base/file.h"

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <utility>

namespace templar {

class RowsFile {
  public:
    // An empty path: lines go nowhere. Else goes on with the file when it is there: its last line is cut off when it is
    // not whole. Throws Error(input) when its first line is not `header`, naming what differs, or a line is none of
    // these; Error(storage) when it cannot be written or another process writes it.
    RowsFile(std::filesystem::path path, nlohmann::json header);

    // Throws Error(input) when the file has answers of another version of the task, or of another data file.
    void begin(const std::string& task, nlohmann::json identity);
    // The line of row `i`, nullptr when it has not been answered.
    const nlohmann::json* find(const std::string& task, int64_t i) const;
    // Appends a line, with one call: whole or absent after a crash. Throws Error(storage), e.g. when the disk is full.
    void append(const nlohmann::json& line);

  private:
    void read(std::string_view text, const nlohmann::json& header);
    std::filesystem::path path_;
    Descriptor file_;
    std::map<std::pair<std::string, int64_t>, nlohmann::json> rows_;
    std::map<std::string, nlohmann::json> tasks_;
};

}  // namespace templar
