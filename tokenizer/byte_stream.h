// Bytes that come one after another: a file, a pipe, standard input, decompressed on the way where they are gzip or
// zstd.
#pragma once

#include "base/bytes.h"

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

namespace templar {

class ByteStream {
  public:
    virtual ~ByteStream() = default;
    // Fills the front of `out` (not empty) and returns how many bytes that were; 0 at the end, or when a stop was asked
    // for while waiting for a pipe. Throws Error(input) on damaged or truncated data, Error(storage) when reading
    // fails.
    virtual size_t read(std::span<char> out, const std::stop_token& stop) = 0;
    // Goes to a byte, counted from the stream's beginning, without reading what is before; false where that cannot be
    // done.
    virtual bool seek([[maybe_unused]] int64_t offset) { return false; }
    // Bytes of the file itself, compressed perhaps, that have been read.
    virtual int64_t consumed() const = 0;
};

// The bytes of a file, of standard input ("-") or of a pipe, decompressed when they begin like gzip (of any number of
// members) or zstd (of any number of frames); memory is bounded whatever they say. Throws Error(input) when there is no
// such file, and on kinds that are not read here (xz, bzip2, zip, Parquet), saying what to do. Waits for a pipe's first
// bytes.
std::unique_ptr<ByteStream> open_bytes(const std::string& path, const std::stop_token& stop = {});

// How a path is called in messages.
std::string shown_path(const std::string& path);

}  // namespace templar
