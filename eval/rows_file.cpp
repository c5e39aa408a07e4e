#include "eval/rows_file.h"

#include "base/error.h"
#include "base/strict_json.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace templar {

namespace {

constexpr int64_t most_bytes = int64_t{16} << 30;

// "length: 512 there, 256 now" for every key in which the two differ.
std::string differences(const nlohmann::json& there, const nlohmann::json& now) {
    std::string text;
    for (const auto& [key, value] : now.items()) {
        const std::string found = there.contains(key) ? there[key].dump() : "nothing";
        if (found != value.dump())
            text += fmt::format("{}{}: {} there, {} now", text.empty() ? "" : "; ", key, found, value.dump());
    }
    return text.empty() ? "it has keys that are unknown now" : text;
}

nlohmann::json json_or_null(std::string_view line) {
    try {
        return parse_json(line, "");
    } catch (const Error&) {
        return nullptr;
    }
}

Descriptor opened(const std::filesystem::path& path) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!file) fail(ExitCode::storage, "cannot open {}: {}", path.string(), std::strerror(errno));
    if (!try_lock(file))
        fail(ExitCode::storage, "{} is being written by another process; wait for it or choose another file",
             path.string());
    return file;
}

}  // namespace

RowsFile::RowsFile(std::filesystem::path path, nlohmann::json header) : path_(std::move(path)) {
    if (path_.empty()) return;
    file_ = opened(path_);
    header["rows"] = "templar-eval 2";
    const std::string text = read_text_file(path_, most_bytes);
    const size_t whole = text.rfind('\n') == text.npos ? 0 : text.rfind('\n') + 1;
    if (whole == 0 && !text.empty() && !header.dump().starts_with(text))
        fail(ExitCode::input, "{} is not a file of answers of this program; choose another for --rows", path_.string());
    read(std::string_view(text).substr(0, whole), header);
    if (whole < text.size() && ::ftruncate(file_.get(), static_cast<off_t>(whole)) != 0)
        fail(ExitCode::storage, "cannot cut the last line of {}: {}", path_.string(), std::strerror(errno));
    if (whole == 0) append(header);
}

void RowsFile::read(std::string_view text, const nlohmann::json& header) {
    size_t at = 0;
    for (int64_t number = 1; at < text.size(); ++number) {
        const size_t end = text.find('\n', at);
        const nlohmann::json line = json_or_null(text.substr(at, end - at));
        at = end + 1;
        const bool first = number == 1;
        const bool answer = line.is_object() && line.contains("task") && line["task"].is_string() &&
                            line.contains("i") && line["i"].is_number_integer();
        const bool begin = line.is_object() && line.contains("begin") && line["begin"].is_string();
        if (first ? !line.is_object() || !line.contains("rows") : !answer && !begin)
            fail(ExitCode::input, "{} line {}: not a line of this program's answers; choose another file for --rows",
                 path_.string(), number);
        if (first && line != header)
            fail(ExitCode::input,
                 "{} has answers of another evaluation ({}); choose another file for --rows, or remove it",
                 path_.string(), differences(line, header));
        if (begin) tasks_[line["begin"].get<std::string>()] = line;
        if (answer) rows_[{line["task"].get<std::string>(), line["i"].get<int64_t>()}] = line;
    }
}

void RowsFile::begin(const std::string& task, nlohmann::json identity) {
    identity["begin"] = task;
    const auto known = tasks_.find(task);
    if (known == tasks_.end()) {
        append(identity);
        tasks_[task] = std::move(identity);
    } else if (known->second != identity) {
        fail(ExitCode::input, "{} has answers to {} from other data ({}); choose another file for --rows, or remove it",
             path_.string(), task, differences(known->second, identity));
    }
}

const nlohmann::json* RowsFile::find(const std::string& task, int64_t i) const {
    const auto found = rows_.find({task, i});
    return found == rows_.end() ? nullptr : &found->second;
}

void RowsFile::append(const nlohmann::json& line) {
    if (!file_) return;
    const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const ssize_t written = ::write(file_.get(), text.data(), text.size());
    if (written != std::ssize(text))
        fail(ExitCode::storage, "cannot write {}: {}", path_.string(),
             written < 0 ? std::strerror(errno)
                         : "the disk is full (free some space and start again: nothing was lost)");
}

}  // namespace templar
