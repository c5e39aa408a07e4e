#include "net/bucket/file_bucket.h"

#include "base/error.h"
#include "net/bucket/key.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace templar {

namespace {

constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// "a/b/c" → {"a/b", "c"}
std::pair<std::string_view, std::string> split(std::string_view key) {
    const size_t slash = key.rfind('/');
    if (slash == std::string_view::npos) return {{}, std::string(key)};
    return {key.substr(0, slash), std::string(key.substr(slash + 1))};
}

ObjectInfo object_info(std::string key, const struct stat& info) {
    return {std::move(key), info.st_size,
            info.st_mtim.tv_sec * int64_t{1000} + info.st_mtim.tv_nsec / 1'000'000};
}

}  // namespace

FileBucket::FileBucket(const std::filesystem::path& root, bool create, Clock* clock)
    : root_path_(root), clock_(clock) {
    std::error_code error;
    if (create) std::filesystem::create_directories(root, error);
    root_ = Descriptor(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root_) return;
    const int reason = errno;
    const char* advice = create             ? "choose a folder that can be written"
                         : reason == ENOENT ? "look for a typing error, or create the folder first"
                                            : "expected a folder that can be read";
    fail(ExitCode::storage, "cannot open bucket {}: {} ({})", url(), std::strerror(reason), advice);
}

std::string FileBucket::url() const {
    return "file://" + root_path_.string();
}

std::string FileBucket::name_of(const std::string& key) const {
    return url() + "/" + key;
}

std::optional<int64_t> FileBucket::time() const {
    return clock_ ? std::optional(clock_->now_ms()) : std::nullopt;
}

// The folder `folder` ("a/b", or "" for the root) by way of real folders only; nothing when it does not
// exist.
std::optional<Descriptor> FileBucket::open_folder(std::string_view folder, bool create) const {
    Descriptor current(::openat(root_.get(), ".", folder_flags));
    if (!current) fail(ExitCode::storage, "cannot open bucket {}: {}", url(), std::strerror(errno));
    for (std::string_view rest = folder; !rest.empty();) {
        const std::string name(rest.substr(0, rest.find('/')));
        rest.remove_prefix(std::min(rest.size(), name.size() + 1));
        Descriptor next(::openat(current.get(), name.c_str(), folder_flags));
        if (!next && errno == ENOENT && create) {
            if (::mkdirat(current.get(), name.c_str(), 0777) != 0 && errno != EEXIST)
                fail(ExitCode::storage, "cannot create folder {} of {}/{}: {}", name, url(), folder,
                     std::strerror(errno));
            next = Descriptor(::openat(current.get(), name.c_str(), folder_flags));
        }
        if (!next && errno == ENOENT && !create) return std::nullopt;
        if (!next && (errno == ENOTDIR || errno == ELOOP))
            fail(ExitCode::input, "{}/{}: expected a folder at {}, found a link or a file", url(), folder,
                 name);
        if (!next)
            fail(ExitCode::storage, "cannot open folder {} of {}/{}: {}", name, url(), folder,
                 std::strerror(errno));
        current = std::move(next);
    }
    return current;
}

struct FileBucket::Open {
    Descriptor file;
    struct stat info;
};

// An object that is a regular file, or nothing when there is none.
std::optional<FileBucket::Open> FileBucket::open_object(const std::string& key) const {
    check_key(key);
    const auto [folder_name, name] = split(key);
    const std::optional<Descriptor> folder = open_folder(folder_name, false);
    if (!folder) return std::nullopt;
    // O_NONBLOCK: a pipe put in an object's place must not hold the reader.
    Open object{Descriptor(::openat(folder->get(), name.c_str(),
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)),
                {}};
    if (!object.file && errno == ENOENT) return std::nullopt;
    if (!object.file && (errno == ELOOP || errno == ENXIO))  // ENXIO: a socket
        fail(ExitCode::input, "{}: expected a regular file, found a link or a socket", name_of(key));
    if (!object.file) fail(ExitCode::storage, "cannot open {}: {}", name_of(key), std::strerror(errno));
    if (::fstat(object.file.get(), &object.info) != 0 || !S_ISREG(object.info.st_mode))
        fail(ExitCode::input, "{}: expected a regular file, found a folder or a device", name_of(key));
    return object;
}

std::optional<ObjectInfo> FileBucket::head(const std::string& key) {
    const std::optional<Open> object = open_object(key);
    if (!object) return std::nullopt;
    return object_info(key, object->info);
}

std::optional<Object> FileBucket::read_object(const std::string& key, int64_t min_bytes,
                                              int64_t max_bytes) const {
    const std::optional<Open> object = open_object(key);
    if (!object) return std::nullopt;
    const ObjectInfo info = object_info(key, object->info);
    if (info.size < min_bytes || info.size > max_bytes)
        fail(ExitCode::input, "{} has {} bytes, expected {} {}", name_of(key), info.size,
             min_bytes == max_bytes ? "exactly" : "at most", max_bytes);
    Bytes bytes(static_cast<size_t>(info.size));
    bytes.resize(read_at(object->file, 0, bytes, name_of(key)));
    if (static_cast<int64_t>(bytes.size()) < min_bytes)
        fail(ExitCode::input, "{} was cut short while it was read", name_of(key));
    bytes_down_ += static_cast<int64_t>(bytes.size());
    return Object{std::move(bytes), info.modified_ms};
}

std::optional<Bytes> FileBucket::get(const std::string& key, int64_t max_bytes) {
    std::optional<Object> object = read_object(key, 0, max_bytes);
    if (!object) return std::nullopt;
    return std::move(object->bytes);
}

std::optional<Object> FileBucket::fetch(const std::string& key, int64_t bytes, int64_t,
                                        const ArrivalCheck& check) {
    std::optional<Object> object = read_object(key, bytes, bytes);
    if (!object || !check) return object;
    std::vector<ByteRange> bad = check(object->bytes, {0, bytes});
    // A file has no other copy to read: once more, in case it was being written in place.
    if (!bad.empty()) {
        object = read_object(key, bytes, bytes);
        if (object) bad = check(object->bytes, {0, bytes});
    }
    if (!bad.empty())
        fail(ExitCode::input, "{}: bytes [{}, {}) are not what they should be", name_of(key), bad[0].begin,
             bad[0].end);
    return object;
}

std::vector<GetResult> FileBucket::get_many(const std::vector<std::string>& keys, int64_t max_bytes) {
    std::vector<GetResult> results;
    for (const std::string& key : keys) {
        GetResult& result = results.emplace_back();
        try {
            result.object = read_object(key, 0, max_bytes);
        } catch (const Error& error) {
            result.error = error;
        }
    }
    return results;
}

std::optional<Bytes> FileBucket::get_range(const std::string& key, int64_t offset, int64_t length) {
    if (offset < 0 || length < 0)
        fail(ExitCode::input, "{}: no bytes [{}, +{}): negative", name_of(key), offset, length);
    const std::optional<Open> object = open_object(key);
    if (!object) return std::nullopt;
    const int64_t size = object->info.st_size;
    if (offset > size || length > size - offset)
        fail(ExitCode::input, "{} has {} bytes, expected {} bytes from {} on", name_of(key), size, length,
             offset);
    Bytes bytes(static_cast<size_t>(length));
    if (read_at(object->file, offset, bytes, name_of(key)) != bytes.size())
        fail(ExitCode::input, "{} was cut short while it was read", name_of(key));
    bytes_down_ += length;
    return bytes;
}

bool FileBucket::create(const std::string& key, ByteSpan bytes, int64_t) {
    check_key(key);
    const auto [folder_name, name] = split(key);
    const Descriptor folder = std::move(*open_folder(folder_name, true));
    struct stat info {};  // who comes late need not write anything
    if (::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) return false;
    if (!create_file_at(folder, name, bytes, time(), name_of(key))) return false;
    bytes_up_ += static_cast<int64_t>(bytes.size());
    return true;
}

void FileBucket::put(const std::string& key, ByteSpan bytes, int64_t) {
    check_key(key);
    const auto [folder_name, name] = split(key);
    write_file_at(*open_folder(folder_name, true), name, bytes, time(), name_of(key));
    bytes_up_ += static_cast<int64_t>(bytes.size());
}

void FileBucket::remove(const std::string& key) {
    check_key(key);
    const auto [folder_name, name] = split(key);
    const std::optional<Descriptor> folder = open_folder(folder_name, false);
    if (!folder || ::unlinkat(folder->get(), name.c_str(), 0) == 0 || errno == ENOENT) return;
    fail(ExitCode::storage, "cannot remove {}: {}", name_of(key), std::strerror(errno));
}

struct FileBucket::Listing {
    std::string_view prefix;
    std::string_view start_after;
    size_t limit;
    std::vector<ObjectInfo> found;
};

std::vector<ObjectInfo> FileBucket::list(const std::string& prefix, const std::string& start_after,
                                         int64_t limit) {
    check_key_prefix(prefix);
    check_key_prefix(start_after);
    Listing listing{prefix, start_after, static_cast<size_t>(std::max<int64_t>(limit, 0)), {}};
    const std::string_view folder_name = split(prefix).first;
    if (const std::optional<Descriptor> folder = open_folder(folder_name, false))
        walk(listing, *folder, folder_name.empty() ? "" : std::string(folder_name) + "/");
    return std::move(listing.found);
}

// Visits names in the order of the keys below them: a folder counts as its name with '/', so that "a-b" comes
// before "a/b". `path` is the folder's key prefix, "" or ending in '/'. Its depth is bounded by the length of
// a key.
void FileBucket::walk(Listing& listing, const Descriptor& folder, const std::string& path) const {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::openat(folder.get(), ".", folder_flags)),
                                                     &::closedir);
    if (!stream) fail(ExitCode::storage, "cannot list {}/{}: {}", url(), path, std::strerror(errno));
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream.get())) {
        if (!valid_key_segment(entry->d_name)) continue;
        bool is_folder = entry->d_type == DT_DIR;
        bool is_file = entry->d_type == DT_REG;
        struct stat info {};
        if (entry->d_type == DT_UNKNOWN &&
            ::fstatat(folder.get(), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
            is_folder = S_ISDIR(info.st_mode);
            is_file = S_ISREG(info.st_mode);
        }
        if (is_folder || is_file) names.push_back(std::string(entry->d_name) + (is_folder ? "/" : ""));
    }
    std::sort(names.begin(), names.end());

    for (const std::string& name : names) {
        if (listing.found.size() >= listing.limit) return;
        const std::string key = path + name;
        const bool is_folder = key.back() == '/';
        if (key.size() > max_key_bytes) continue;
        if (is_folder) {
            if (!key.starts_with(listing.prefix) && !listing.prefix.starts_with(key)) continue;
            if (key < listing.start_after && !listing.start_after.starts_with(key)) continue;
            const Descriptor below(
                ::openat(folder.get(), name.substr(0, name.size() - 1).c_str(), folder_flags));
            if (below) walk(listing, below, key);
            continue;
        }
        struct stat info {};
        if (!key.starts_with(listing.prefix) || key <= listing.start_after) continue;
        if (::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
            continue;
        listing.found.push_back(object_info(key, info));
    }
}

}  // namespace templar
