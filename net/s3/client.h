// S3 operations on one bucket: signed, retried within a deadline, verified. Keys are raw bytes here (any
// UTF-8); net/bucket/s3_bucket.h is stricter.
#pragma once

#include "base/error.h"
#include "net/s3/answers.h"
#include "net/s3/endpoint.h"
#include "net/s3/transport.h"
#include "net/transfer.h"

namespace templar {

struct S3Policy {
    int64_t get_part_bytes = 8 << 20;    // ranges of a large GET
    int64_t put_part_bytes = 16 << 20;   // equal parts of a multipart upload; grows so that 10,000 suffice
    int64_t multipart_bytes = 64 << 20;  // longer objects go up in parts
    int parallel_parts = 4;              // of one object at a time
    int parallel_gets = 16;              // of get_many
    int64_t budget_ms = 30'000;  // of one operation, all retries included, plus its bytes / min_bytes_per_s
    int64_t min_bytes_per_s = 256 << 10;  // of a body
    int64_t stall_ms = 10'000;
    int64_t first_pause_ms = 100;      // back-off: a random time below first · 2^retry …
    int64_t longest_pause_ms = 5'000;  // … and this; Retry-After is honoured within the budget
};

struct S3Object {
    int64_t size = 0;
    int64_t modified_ms = 0;  // Last-Modified: whole seconds
    std::string etag;         // without quotes
};
struct S3GetResult {
    std::optional<std::pair<Bytes, S3Object>> object;  // nothing: there is none
    std::optional<Error> error;                        // why not
};

// Errors: Error(input) when the object is not what was asked for (another length, more than max_bytes, given
// up by `check`); Error(storage) for everything the service or the way to it did: what was asked, the
// answer's code and message (redacted, control characters escaped), how many tries, and what to do (clock,
// key, endpoint, bucket). Every call is safe from several threads at once.
class S3Client {
  public:
    S3Client(std::shared_ptr<Transport> transport, S3Location location, S3Credentials credentials,
             S3Policy policy = {}, const std::atomic<bool>* stop = nullptr);

    std::optional<S3Object> head(const std::string& key);
    // The object, at most max_bytes long, with its size and time.
    std::optional<std::pair<Bytes, S3Object>> get(const std::string& key, int64_t max_bytes);
    // Many at a time, each within its own budget; results in the order of the keys.
    std::vector<S3GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes);
    // As fetch, of the bytes [offset, offset + length) of an object that may be longer.
    std::optional<Bytes> get_range(const std::string& key, int64_t offset, int64_t length);
    // Exactly `bytes` bytes into one buffer: parallel ranges, every one with If-Match of the first answer's
    // ETag (412: the object changed; begins again, once).
    std::optional<std::pair<Bytes, S3Object>> fetch(const std::string& key, int64_t bytes, int64_t budget_ms,
                                                    const ArrivalCheck& check);
    // If-None-Match: *. False when the object exists with other bytes; a 412 after a try whose answer was
    // lost is compared with `bytes`. Above multipart_bytes services differ: AWS and R2 judge the condition
    // when the parts are put together, Ceph 16 not at all, so that there of several writers at the same time
    // each may be told that it won, and the last one has.
    bool create(const std::string& key, ByteSpan bytes, int64_t budget_ms = 0);
    void put(const std::string& key, ByteSpan bytes, int64_t budget_ms = 0);
    void remove(const std::string& key);
    // Keys after `start_after` that begin with `prefix`, ascending, at most `limit`, page by page.
    std::vector<S3ListedObject> list(const std::string& prefix, const std::string& start_after,
                                     int64_t limit);
    // Multipart uploads that have not been completed, of keys that begin with `prefix`; and their removal.
    std::vector<S3Upload> unfinished_uploads(const std::string& prefix);
    void abort_upload(const S3Upload& upload);
    // For somebody without keys: a write-once ticket when `create_only` (the holder must send If-None-Match:
    // *).
    std::string presign(const std::string& method, const std::string& key, int64_t expires_s,
                        bool create_only = false);
    // The service's clock minus this machine's, in milliseconds, from the last answer's Date header (whole
    // seconds); nothing before the first.
    std::optional<int64_t> clock_difference_ms() const;

    const S3Location& location() const;
    TransferStats stats() const;
    // Told of bodies longer than 1 MiB: key, bytes done, bytes in all. Called from the calling thread.
    TransferProgress progress;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace templar
