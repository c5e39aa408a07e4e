#include "base/new_folder.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/random.h"

namespace templar {

namespace fs = std::filesystem;

void NewFolder::check(const fs::path& path) {
    std::error_code error;
    if (fs::exists(fs::symlink_status(path, error)) && (!fs::is_directory(path, error) || !fs::is_empty(path, error)))
        fail(ExitCode::usage, "{} exists already and is not an empty folder: choose another name, or remove it first",
             path.string());
}

NewFolder::NewFolder(fs::path path) : path_(std::move(path)) {
    // Not "DIR/": the last part must be a name.
    if (!path_.has_filename()) path_ = path_.parent_path();
    check(path_);
    std::error_code error;
    temporary_ = path_;
    temporary_.replace_filename("." + path_.filename().string().substr(0, 200) + "." +
                                to_hex(random_secret()).substr(0, 16) + ".tmp");
    fs::create_directories(temporary_, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", path_.string(), error.message());
}

NewFolder::~NewFolder() {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void NewFolder::commit() {
    std::error_code error;
    fs::rename(temporary_, path_, error);  // over an empty folder too
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", path_.string(), error.message());
    temporary_.clear();
}

}  // namespace templar
