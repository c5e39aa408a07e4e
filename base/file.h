// Files, in the few ways this project uses them. Every error names the path and what to do.
#pragma once

#include "base/bytes.h"

#include <filesystem>

namespace templar {

// The whole file. Throws Error(input) when it is missing, not a regular file, or longer than max_bytes.
Bytes read_file(const std::filesystem::path& path, int64_t max_bytes);
std::string read_text_file(const std::filesystem::path& path, int64_t max_bytes);

// Replaces the file as one step: a reader, or a restart after kill −9, sees the old bytes or the new ones, never a mixture.
// Throws Error(storage), e.g. when the disk is full; the old file is then untouched.
void write_file(const std::filesystem::path& path, ByteSpan bytes);

// Creates the file as one step; false (and nothing changed) when it exists already. Throws Error(storage).
// `mode` are its permission bits.
bool create_file(const std::filesystem::path& path, ByteSpan bytes, unsigned mode = 0644);

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
