// Files, in the few ways this project uses them. Every error names the path and what to do.
#pragma once

#include "base/bytes.h"

#include <filesystem>
#include <optional>

namespace templar {

// The whole file. Throws Error(input) when it is missing, not a regular file, or longer than max_bytes.
Bytes read_file(const std::filesystem::path& path, int64_t max_bytes);
std::string read_text_file(const std::filesystem::path& path, int64_t max_bytes);

// Replaces the file as one step: a reader, or a restart after kill −9, sees the old bytes or the new ones,
// never a mixture. Throws Error(storage), e.g. when the disk is full; the old file is then untouched.
void write_file(const std::filesystem::path& path, ByteSpan bytes);

// Creates the file as one step; false (and nothing changed) when it exists already. Throws Error(storage).
// `mode` are its permission bits.
bool create_file(const std::filesystem::path& path, ByteSpan bytes, unsigned mode = 0644);

// An open file descriptor, closed when it leaves scope.
class Descriptor {
  public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept;
    Descriptor& operator=(Descriptor&& other) noexcept;
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_;
};

// The same two for a name inside an open folder, so that nobody can swap a folder of the path for a link
// meanwhile. The file appears with `modified_ms` (Unix epoch) when it is given. `what` names it in errors.
void write_file_at(const Descriptor& folder, const std::string& name, ByteSpan bytes,
                   std::optional<int64_t> modified_ms, std::string_view what);
bool create_file_at(const Descriptor& folder, const std::string& name, ByteSpan bytes,
                    std::optional<int64_t> modified_ms, std::string_view what);

// Keeps the open file for this process until the descriptor closes, however the process ends; false when another has it.
// On a file system that knows no locks: true.
bool try_lock(const Descriptor& file);

// A free name beside `path`, for what is to be renamed to it when it is whole: it begins with '.', so that listings skip
// it, and ends with ".tmp".
std::filesystem::path temporary_name(std::filesystem::path path);

// A file written piece by piece that appears as one step, on disk, with commit(): without it, or after an error, there is
// nothing but what was there before. All throw Error(storage), e.g. when the disk is full.
class FileWriter {
  public:
    explicit FileWriter(std::filesystem::path path);
    ~FileWriter();
    FileWriter(const FileWriter&) = delete;
    FileWriter& operator=(const FileWriter&) = delete;
    void write(ByteSpan bytes);
    void commit();

  private:
    std::filesystem::path path_, temporary_;
    Descriptor file_;
};

// Fills `out` from `offset` of an open file; returns how many bytes there were. Throws Error(storage).
size_t read_at(const Descriptor& file, int64_t offset, std::span<uint8_t> out, std::string_view what);

// A read-only memory map of a whole file. Throws Error(input) when the file cannot be opened.
class MappedFile {
  public:
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&&) = delete;
    ByteSpan bytes() const { return {data_, size_}; }

  private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace templar
