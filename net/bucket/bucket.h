// An object store: the only thing participants share. One interface, two implementations: file:// (a folder)
// and s3:// (any S3 service).
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "net/chain/clock.h"
#include "net/s3/credentials.h"
#include "net/transfer.h"

#include <filesystem>
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

struct Object {
    Bytes bytes;
    int64_t modified_ms = 0;
};
// Of one of several objects asked for at once: the object, or nothing when there is none, or why not.
struct GetResult {
    std::optional<Object> object;
    std::optional<Error> error;
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
    // The object, of exactly `bytes` bytes, all of the same version; nothing when there is none. The buffer
    // of the result is the only memory that grows with `bytes`. Error(input) when it has another length or
    // `check` gives it up; Error(storage) when it was not there in `budget_ms` (0: the bucket's own rule).
    virtual std::optional<Object> fetch(const std::string& key, int64_t bytes, int64_t budget_ms = 0,
                                        const ArrivalCheck& check = nullptr) = 0;
    // Each at most max_bytes long; results in the order of the keys. Many at a time where that is faster.
    virtual std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes) = 0;
    // Write-once: true when this call created the object, false when it exists. Readers never see a part of
    // it. Of several concurrent writers exactly one wins (If-None-Match: *).
    // `budget_ms`, here and below: how long it may take, retries included (0: the bucket's own rule); what is
    // not done by then is Error(storage), though it may have been done unseen.
    virtual bool create(const std::string& key, ByteSpan bytes, int64_t budget_ms = 0) = 0;
    // Creates or replaces as one step.
    virtual void put(const std::string& key, ByteSpan bytes, int64_t budget_ms = 0) = 0;
    // Removing what is not there is no error.
    virtual void remove(const std::string& key) = 0;
    // Objects whose key starts with `prefix` and is greater than `start_after`, ascending, at most `limit`.
    virtual std::vector<ObjectInfo> list(const std::string& prefix, const std::string& start_after = "",
                                         int64_t limit = 1000) = 0;
    // As others may be told it: opens the same bucket, and holds nothing secret or local.
    virtual std::string url() const = 0;
    // Removes what uploads that were cut off long ago (kill -9) left behind. Nobody ever sees such a part as
    // an object; it only takes room.
    virtual void sweep_unfinished() {}
    virtual TransferStats stats() const { return {}; }
    // The service's clock minus this machine's, in milliseconds, as far as the bucket knows.
    virtual std::optional<int64_t> clock_difference_ms() const { return {}; }
};

struct BucketOptions {
    bool create = false;     // file://: make the folder when it is missing
    Clock* clock = nullptr;  // file://: objects carry its time (virtual runs); none: the file system's
    // s3://
    std::filesystem::path credentials{};      // a key file of mode 0600; empty: see net/s3/credentials.h
    bool allow_http = false;                  // without TLS too
    const std::atomic<bool>* stop = nullptr;  // ends every wait early when it becomes true
    TransferProgress progress{};
};

// A bucket of this operator's, by URL:
//   file:///absolute/folder
//   s3://bucket[/prefix]?endpoint=https://host[:port]&region=auto&profile=name
// endpoint and region may come from the profile instead; profile is the section of the key file. Throws
// Error(usage) on a malformed URL or unknown scheme, Error(identity) when keys are missing or exposed.
std::unique_ptr<Bucket> open_bucket(const std::string& url, const BucketOptions& options = {});

// What this operator lets strangers' URLs lead to.
struct PeerRules {
    bool allow_file = false;     // file:// (only where the run itself is in a folder)
    bool allow_http = false;     // s3:// without TLS
    bool allow_private = false;  // s3:// at loopback, private and link-local addresses
};

// A stranger's bucket, for reading: URL and read key as its owner published them. Throws Error(input) when
// the rules forbid it. An empty key: requests are not signed (a public bucket).
std::unique_ptr<Bucket> open_peer_bucket(const std::string& url, const S3Credentials& read_key,
                                         const PeerRules& rules, const std::atomic<bool>* stop = nullptr);

}  // namespace templar
