#include "base/file.h"

#include "base/error.h"
#include "base/random.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace templar {

namespace {

// An open file descriptor, closed when it leaves scope.
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

std::string reason(int error) {
    std::string text = std::strerror(error);
    if (error == ENOSPC || error == EDQUOT) text += " (free some space and start again: nothing was lost)";
    return text;
}

// A temporary sibling of `path` with the given contents, on disk; its name starts with '.' so that listings skip it.
std::filesystem::path write_temporary(const std::filesystem::path& path, ByteSpan bytes, unsigned mode) {
    std::filesystem::path temporary = path;
    const std::string suffix = to_hex(ByteSpan(random_secret()).first(8));
    temporary.replace_filename("." + path.filename().string() + "." + suffix + ".tmp");
    auto give_up = [&](const char* step, int error) {
        ::unlink(temporary.c_str());
        fail(ExitCode::storage, "cannot {} {}: {}", step, path.string(), reason(error));
    };
    Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.get() < 0) fail(ExitCode::storage, "cannot create {}: {}", path.string(), reason(errno));
    while (!bytes.empty()) {
        const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) give_up("write", errno);
        bytes = bytes.subspan(static_cast<size_t>(written));
    }
    if (::fsync(file.get()) != 0) give_up("write", errno);
    return temporary;
}

Descriptor open_for_reading(const std::filesystem::path& path, struct stat& info) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(ExitCode::input, "cannot open {}: {}", path.string(), std::strerror(errno));
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(fd);
        fail(ExitCode::input, "{} is not a regular file", path.string());
    }
    return Descriptor(fd);
}

}  // namespace

Bytes read_file(const std::filesystem::path& path, int64_t max_bytes) {
    struct stat info{};
    const Descriptor file = open_for_reading(path, info);
    if (info.st_size > max_bytes)
        fail(ExitCode::input, "{} has {} bytes, expected at most {}", path.string(), info.st_size, max_bytes);
    Bytes bytes(static_cast<size_t>(info.st_size));
    size_t filled = 0;
    while (filled < bytes.size()) {
        const ssize_t count = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail(ExitCode::input, "cannot read {}: {}", path.string(), std::strerror(errno));
        if (count == 0) break;  // the file shrank while it was read
        filled += static_cast<size_t>(count);
    }
    bytes.resize(filled);
    return bytes;
}

std::string read_text_file(const std::filesystem::path& path, int64_t max_bytes) {
    const Bytes bytes = read_file(path, max_bytes);
    return std::string(as_text(bytes));
}

void write_file(const std::filesystem::path& path, ByteSpan bytes) {
    const std::filesystem::path temporary = write_temporary(path, bytes, 0644);
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        const int error = errno;
        ::unlink(temporary.c_str());
        fail(ExitCode::storage, "cannot replace {}: {}", path.string(), reason(error));
    }
}

bool create_file(const std::filesystem::path& path, ByteSpan bytes, unsigned mode) {
    const std::filesystem::path temporary = write_temporary(path, bytes, mode);
    // link() fails when the name exists: of several writers exactly one wins, and its bytes are complete.
    const int result = ::link(temporary.c_str(), path.c_str());
    const int error = errno;
    ::unlink(temporary.c_str());
    if (result == 0) return true;
    if (error == EEXIST) return false;
    fail(ExitCode::storage, "cannot create {}: {}", path.string(), reason(error));
}

MappedFile::MappedFile(const std::filesystem::path& path) {
    struct stat info{};
    const Descriptor file = open_for_reading(path, info);
    size_ = static_cast<size_t>(info.st_size);
    if (size_ == 0) return;
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) fail(ExitCode::input, "cannot map {}: {}", path.string(), std::strerror(errno));
    data_ = static_cast<const uint8_t*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
    if (data_) ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace templar
