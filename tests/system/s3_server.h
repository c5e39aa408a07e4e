// An S3 service for tests: in memory, on loopback, path-style, HTTP/1.1 with kept connections. It judges
// signatures by its own reading of the bytes that arrived, has Cloudflare R2's quirks, counts what it serves,
// and misbehaves as it is told.
#pragma once

#include "base/bytes.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace templar::s3test {

enum class Operation {
    get,
    head,
    put,
    remove,
    list,
    create_upload,
    upload_part,
    complete_upload,
    abort_upload,
    list_parts,
    list_uploads,
    other
};
const char* operation_name(Operation operation);

struct Key {
    std::string id, secret;
    std::string session_token{};  // must accompany it when not empty
    bool read_only = false;
};

// What services do differently; R2's way by default.
struct Quirks {
    bool equal_parts = true;  // multipart: all parts but the last of one length, the last not longer
    int64_t min_part_bytes = 5 << 20;
    bool one_write_per_second = false;  // of one key; else 429
    bool modified_at_start = false;     // Last-Modified of a multipart object: when it was begun
    bool if_none_match = true;          // false: a service that ignores it on writes
    std::string region{};               // requests of another are refused; empty: any
};

enum class Fault {
    status,          // `status`, `code` and Retry-After instead of the operation
    early_status,    // the same before the body is read, and the connection ends
    echo,            // 403 whose message repeats the request's head, secrets included
    reset_before,    // reset when the head has been read
    reset_unstored,  // reset when the body has been read; nothing done
    reset_stored,    // reset when the operation has been done
    reset_middle,    // reset after `bytes` of the answer's body (or half of the head of one without)
    stall,           // done, then silence of `ms` (0: until the client leaves) before the answer
    stall_middle,    // the same after `bytes` of the body
    drip,            // the body at `bytes_per_s`
    drip_all,        // head and body at `bytes_per_s`
    truncated,       // the last `bytes` announced are not sent; connection ends in order
    short_length,    // Content-Length is `bytes` less than what is sent
    shorter,         // `bytes` less than asked, announced as such
    oversized,       // `bytes` more than asked, announced as such
    overrun,         // `bytes` more than announced
    chunked,         // the right body without Content-Length
    endless,         // a chunked body without end (at most 1 GiB)
    header,          // header `name` has `value` instead; empty: is missing
    ignore_range,    // 200 and all of the object
    flip,            // bit 0 of the object's byte `bytes` is wrong; strikes requests for that byte only
    error_in_200,    // 200 and an <Error> of `code`; nothing done
    header_bomb,     // `bytes` of headers, or of one when `value` is "one line"
    garbage,         // not HTTP
    continues,       // 100 Continue without end
    redirect,        // 307 to `value`
    list_stuck,      // a page that is truncated and continues with itself
    malformed_xml,   // the body stops in the middle of its last tag
    body             // the body is `name`, then `value` again and again, `bytes` or more in all
};
const char* fault_name(Fault fault);

struct FaultRule {
    Fault fault = Fault::status;
    std::vector<Operation> operations{};  // empty: any
    std::string where = "*";              // of "bucket/key"; '*' is any run of bytes
    int64_t first = 1;                    // of the requests that match, the first it may strike
    int64_t times = 1;                    // how often it may strike
    double probability = 1;
    uint64_t seed = 1;
    int status = 503;
    std::string code = "ServiceUnavailable";
    std::string retry_after{};
    int64_t bytes = 0;
    int64_t bytes_per_s = 0;
    int64_t ms = 0;
    std::string name{}, value{};
};

struct Served {
    Operation operation = Operation::other;
    std::string bucket, key;
    std::string range;   // the Range header
    int status = 0;      // 0: no answer was sent
    int64_t body_bytes;  // of the answer, as it was to be sent
};

struct Counters {
    std::map<Operation, int64_t> requests;
    int64_t all_requests = 0;
    int64_t connections = 0, open_connections = 0, most_connections = 0;
    int64_t running = 0, most_running = 0;  // requests from their head's arrival to the answer's end
    int64_t bytes_in = 0, bytes_out = 0;    // bodies
    int64_t expects = 0;                    // requests that wait for 100 Continue, which never comes
    int64_t faults = 0;
    int64_t of(Operation operation) const;
};

struct Stored {
    Bytes bytes;
    std::string etag;  // without quotes
    int64_t modified_ms = 0;
    int64_t times_stored = 0;  // by requests; more than one breaks a write-once key
};

class Server {
  public:
    explicit Server(const Quirks& quirks = {});
    ~Server();  // ends every connection
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    uint16_t port() const;
    std::string origin() const;  // "http://127.0.0.1:port"

    void add_key(const Key& key);
    // `public_read`: GET, HEAD and list need no signature.
    void add_bucket(const std::string& name, bool public_read = false);

    // Past the wire.
    void store(const std::string& bucket, const std::string& key, Bytes bytes);
    // Bytes that several objects share.
    void store(const std::string& bucket, const std::string& key, std::shared_ptr<const Bytes> owner,
               ByteSpan bytes);
    std::optional<Stored> find(const std::string& bucket, const std::string& key) const;
    void set_modified(const std::string& bucket, const std::string& key, int64_t unix_ms);
    int64_t uploads_open(const std::string& bucket) const;
    // Of the Date header, of what Last-Modified is set to, and of how signatures are judged.
    void set_clock_offset(int64_t seconds);

    // The first rule that matches and may strike does. Returns the rule's number.
    int64_t inject(const FaultRule& rule);
    int64_t strikes(int64_t rule) const;
    void heal();  // forgets all rules

    Counters counters() const;
    std::vector<Served> served() const;  // the last 10,000
    void forget_counts();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace templar::s3test
