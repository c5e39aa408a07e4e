#include "base/file.h"

#include "base/error.h"
#include "base/random.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace templar {

namespace {

std::string reason(int error) {
    std::string text = std::strerror(error);
    if (error == ENOSPC || error == EDQUOT) text += " (free some space and start again: nothing was lost)";
    return text;
}

// Where a file goes: `name` is relative to the folder `at`, or any path when that is AT_FDCWD.
struct Place {
    int at;
    std::filesystem::path name;
    std::string_view what;
};

// False with errno when not all could be written.
bool write_all(int file, ByteSpan bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return true;
}

// A temporary sibling with the given contents, on disk.
std::filesystem::path write_temporary(const Place& place, ByteSpan bytes, unsigned mode,
                                      std::optional<int64_t> modified_ms) {
    const std::filesystem::path temporary = temporary_name(place.name);
    const Descriptor file(
        ::openat(place.at, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!file) fail(ExitCode::storage, "cannot create {}: {}", place.what, reason(errno));
    auto check = [&](bool good) {
        if (good) return;
        const int error = errno;
        ::unlinkat(place.at, temporary.c_str(), 0);
        fail(ExitCode::storage, "cannot write {}: {}", place.what, reason(error));
    };
    check(write_all(file.get(), bytes));
    if (modified_ms) {
        const timespec time{*modified_ms / 1000, *modified_ms % 1000 * 1'000'000};
        const timespec times[2] = {time, time};
        check(::futimens(file.get(), times) == 0);
    }
    check(::fsync(file.get()) == 0);
    return temporary;
}

// A file's new name on disk too: others may be told of it next, and a power failure must not bring the old one back.
// Where a file system cannot, there is nothing to be done about it.
void sync_folder_of(int at, const std::filesystem::path& name) {
    const std::filesystem::path folder = name.has_parent_path() ? name.parent_path() : ".";
    const Descriptor descriptor(::openat(at, folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor) ::fsync(descriptor.get());
}

void replace(const Place& place, ByteSpan bytes, std::optional<int64_t> modified_ms) {
    const std::filesystem::path temporary = write_temporary(place, bytes, 0644, modified_ms);
    if (::renameat(place.at, temporary.c_str(), place.at, place.name.c_str()) == 0)
        return sync_folder_of(place.at, place.name);
    const int error = errno;
    ::unlinkat(place.at, temporary.c_str(), 0);
    fail(ExitCode::storage, "cannot replace {}: {}", place.what, reason(error));
}

bool create(const Place& place, ByteSpan bytes, unsigned mode, std::optional<int64_t> modified_ms) {
    const std::filesystem::path temporary = write_temporary(place, bytes, mode, modified_ms);
    // link() fails when the name exists: of several writers exactly one wins, and its bytes are complete.
    const int result = ::linkat(place.at, temporary.c_str(), place.at, place.name.c_str(), 0);
    const int error = errno;
    ::unlinkat(place.at, temporary.c_str(), 0);
    if (result == 0) {
        sync_folder_of(place.at, place.name);
        return true;
    }
    if (error == EEXIST) return false;
    fail(ExitCode::storage, "cannot create {}: {}", place.what, reason(error));
}

// O_NONBLOCK: opening a pipe must not wait for its other end; it means nothing for regular files.
Descriptor open_for_reading(const std::filesystem::path& path, struct stat& info) {
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file) fail(ExitCode::input, "cannot open {}: {}", path.string(), std::strerror(errno));
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
        fail(ExitCode::input, "{} is not a regular file", path.string());
    return file;
}

}  // namespace

Descriptor::~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
}
Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

size_t read_at(const Descriptor& file, int64_t offset, std::span<uint8_t> out, std::string_view what) {
    size_t filled = 0;
    while (filled < out.size()) {
        const ssize_t count = ::pread(file.get(), out.data() + filled, out.size() - filled,
                                      static_cast<off_t>(offset + static_cast<int64_t>(filled)));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail(ExitCode::storage, "cannot read {}: {}", what, std::strerror(errno));
        if (count == 0) break;  // the file shrank while it was read
        filled += static_cast<size_t>(count);
    }
    return filled;
}

Bytes read_file(const std::filesystem::path& path, int64_t max_bytes) {
    struct stat info {};
    const Descriptor file = open_for_reading(path, info);
    if (info.st_size > max_bytes)
        fail(ExitCode::input, "{} has {} bytes, expected at most {}", path.string(), info.st_size, max_bytes);
    Bytes bytes(static_cast<size_t>(info.st_size));
    bytes.resize(read_at(file, 0, bytes, path.string()));
    return bytes;
}

std::string read_text_file(const std::filesystem::path& path, int64_t max_bytes) {
    const Bytes bytes = read_file(path, max_bytes);
    return std::string(as_text(bytes));
}

bool try_lock(const Descriptor& file) {
    return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

std::filesystem::path temporary_name(std::filesystem::path path) {
    // Names have at most 255 bytes.
    return path.replace_filename("." + path.filename().string().substr(0, 200) + "." +
                                 to_hex(random_secret()).substr(0, 16) + ".tmp");
}

void write_file(const std::filesystem::path& path, ByteSpan bytes) {
    const std::string what = path.string();
    replace({AT_FDCWD, path, what}, bytes, std::nullopt);
}

bool create_file(const std::filesystem::path& path, ByteSpan bytes, unsigned mode) {
    const std::string what = path.string();
    return create({AT_FDCWD, path, what}, bytes, mode, std::nullopt);
}

void write_file_at(const Descriptor& folder, const std::string& name, ByteSpan bytes,
                   std::optional<int64_t> modified_ms, std::string_view what) {
    replace({folder.get(), name, what}, bytes, modified_ms);
}

bool create_file_at(const Descriptor& folder, const std::string& name, ByteSpan bytes,
                    std::optional<int64_t> modified_ms, std::string_view what) {
    return create({folder.get(), name, what}, bytes, 0644, modified_ms);
}

FileWriter::FileWriter(std::filesystem::path path)
    : path_(std::move(path)),
      temporary_(temporary_name(path_)),
      file_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {
    if (!file_) fail(ExitCode::storage, "cannot create {}: {}", path_.string(), reason(errno));
}

FileWriter::~FileWriter() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void FileWriter::write(ByteSpan bytes) {
    if (!write_all(file_.get(), bytes)) fail(ExitCode::storage, "cannot write {}: {}", path_.string(), reason(errno));
}

void FileWriter::commit() {
    if (::fsync(file_.get()) != 0) fail(ExitCode::storage, "cannot write {}: {}", path_.string(), reason(errno));
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
        fail(ExitCode::storage, "cannot replace {}: {}", path_.string(), reason(errno));
    temporary_.clear();
    sync_folder_of(AT_FDCWD, path_);
}

MappedFile::MappedFile(const std::filesystem::path& path) {
    struct stat info {};
    const Descriptor file = open_for_reading(path, info);
    size_ = static_cast<size_t>(info.st_size);
    if (size_ == 0) return;
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED)
        fail(ExitCode::input, "cannot map {}: {}", path.string(), std::strerror(errno));
    data_ = static_cast<const uint8_t*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
    if (data_) ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace templar
