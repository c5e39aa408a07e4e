#include "base/new_folder.h"

#include "base/error.h"
#include "base/file.h"

#include <sys/stat.h>

namespace templar {

namespace fs = std::filesystem;

namespace {

// rename() cannot put another folder where a disk is mounted; the working folder would vanish from under the user.
bool can_be_replaced(const fs::path& folder) {
    struct stat own {
    }, parent{}, working{};
    if (::stat(folder.c_str(), &own) != 0 || ::stat((folder / "..").c_str(), &parent) != 0 ||
        ::stat(".", &working) != 0)
        return false;
    return own.st_dev == parent.st_dev && (own.st_dev != working.st_dev || own.st_ino != working.st_ino);
}

}  // namespace

void NewFolder::check(const fs::path& path) {
    if (path.empty()) fail(ExitCode::usage, "expected the name of a folder, found an empty one");
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) return;
    if (!fs::is_directory(path, error) || !fs::is_empty(path, error))
        fail(ExitCode::usage, "{} exists already and is not an empty folder: choose another name, or remove it first",
             path.string());
    if (!can_be_replaced(path))
        fail(ExitCode::usage,
             "{} cannot be replaced: a disk is mounted there, or this program was started in it; name a new folder in "
             "it",
             path.string());
}

NewFolder::NewFolder(fs::path path) : path_(std::move(path)) {
    check(path_);
    // Not "DIR/": the last part must be a name.
    if (!path_.has_filename()) path_ = path_.parent_path();
    std::error_code error;
    // Where a link leads, not the link.
    if (fs::exists(path_, error)) path_ = fs::canonical(path_, error);
    temporary_ = temporary_name(path_);
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
