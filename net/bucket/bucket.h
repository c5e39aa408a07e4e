// An object store: the only thing participants share. One interface; file:// is the first implementation.
#pragma once

#include "base/bytes.h"
#include "net/chain/clock.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace templar {

struct ObjectInfo {
    std::string key;
    int64_t size = 0;
    int64_t modified_ms = 0;  // by the bucket's clock: what deadlines are judged by
};

// Keys are relative paths of [A-Za-z0-9._-] segments joined by '/'; no empty, '.' or '..' segment, none
// starting with '.'; at most 512 bytes: anything else throws Error(input). Failures of the store throw
// Error(storage).
class Bucket {
  public:
    virtual ~Bucket() = default;

    virtual std::optional<ObjectInfo> head(const std::string& key) = 0;
    // The object, or nothing when there is none. Throws Error(input), having read nothing, when it is longer
    // than max_bytes.
    virtual std::optional<Bytes> get(const std::string& key, int64_t max_bytes) = 0;
    // Exactly [offset, offset + length); nothing when there is no such object; Error(input) when it is
    // shorter.
    virtual std::optional<Bytes> get_range(const std::string& key, int64_t offset, int64_t length) = 0;
    // Write-once: true when this call created the object, false when it exists. Readers never see a part of
    // it. Of several concurrent writers exactly one wins (If-None-Match: *).
    virtual bool create(const std::string& key, ByteSpan bytes) = 0;
    // Creates or replaces as one step.
    virtual void put(const std::string& key, ByteSpan bytes) = 0;
    // Removing what is not there is no error.
    virtual void remove(const std::string& key) = 0;
    // Objects whose key starts with `prefix` and is greater than `start_after`, ascending, at most `limit`.
    virtual std::vector<ObjectInfo> list(const std::string& prefix, const std::string& start_after = "",
                                         int64_t limit = 1000) = 0;
    virtual std::string url() const = 0;
};

// A bucket by URL: file:///absolute/folder (created when missing and `create`). With a clock, objects carry
// its time (virtual runs); without, the file system's. Throws Error(usage) on an unknown scheme.
std::unique_ptr<Bucket> open_bucket(const std::string& url, bool create, Clock* clock = nullptr);

}  // namespace templar
