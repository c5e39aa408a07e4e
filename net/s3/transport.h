// HTTP/1.1 requests over libcurl, many at a time: one event loop in one thread, connections kept and reused,
// nothing believed about lengths, nothing that hangs. Knows no S3: no keys, no retries.
#pragma once

#include "base/bytes.h"
#include "net/s3/sign.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace templar {

using SteadyTime = std::chrono::steady_clock::time_point;

struct HttpRequest {
    std::string method = {};   // GET, HEAD, PUT, POST, DELETE
    std::string url = {};      // sent byte for byte (no dot segments removed)
    HttpHeaders headers = {};  // as signed; never Host, Content-Length or Expect
    ByteSpan body = {};        // of PUT and POST; must live until the request has ended
    // The body of an answer 200 or 206 goes to `into` when it is given and must fill it exactly: a longer one
    // is cut off at its first surplus byte, before anything else is read. Any other body goes to
    // HttpResponse::body, at most max_body of it.
    std::span<uint8_t> into = {};
    int64_t max_body = 64 * 1024;
    SteadyTime deadline = {};     // for all of it, name resolution and connecting included
    int64_t min_bytes_per_s = 0;  // slower than this over `stall_ms` ends it
    int64_t stall_ms = 10'000;    // and so does silence of this length
    // Called by the event loop when a wait of the exchange has come to its end, for who waits for several.
    // Must neither block nor touch the exchange.
    std::function<void()> wake = {};
};

enum class NetFault {
    none,
    address,    // the name does not resolve, or only to addresses that are not allowed
    connect,    // refused, unreachable, TLS handshake
    broken,     // the connection ended in the middle: reset, truncated body, malformed answer
    stalled,    // too slow, or silent
    deadline,   // not done in time
    too_long,   // more bytes than allowed
    cancelled,  // the caller, or stop
};
std::string_view net_fault_name(NetFault fault);

struct HttpResponse {
    NetFault fault = NetFault::none;  // none: `status` and everything else is there, whatever the status is
    std::string detail;               // of a fault, for people; not redacted
    int status = 0;
    HttpHeaders headers;  // of the final answer; names in lower case; at most 64 of 16 KiB together
    std::string body;     // what did not go to `into`
    int64_t into_bytes = 0;
    // Sent a second time, because a kept connection died without an answer: a 412 may be its own echo.
    bool resent = false;
    // The value of the first header of this name (lower case); "" when there is none.
    std::string_view header(std::string_view name) const;
};

// One request under way. Safe to use from the thread that started it while the event loop works on it.
class Exchange {
  public:
    virtual ~Exchange() = default;  // cancels it, and returns when nothing of the request is used any more
    // Each returns false when `until` came first.
    virtual bool wait_headers(SteadyTime until) = 0;  // status and headers are there, or it ended
    virtual bool wait(SteadyTime until) = 0;          // ended
    virtual bool ended() const = 0;
    // Status and headers once they are there; all of it once ended.
    virtual const HttpResponse& response() const = 0;
};

class Transport {
  public:
    struct Rules {
        bool allow_http = false;
        bool allow_private = false;  // connect to addresses that is_public_address refuses
        int max_connections = 256;   // open at a time; further requests wait (within their deadline)
        bool verify_tls = true;      // false only in tests
        bool operator==(const Rules&) const = default;
    };
    explicit Transport(const Rules& rules);
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    // The first request to a host fixes the address (checked as it is connected to); every later one of this
    // Transport goes to the same until one fails. No redirects, no proxies from the
    // environment, no decompression, no cookies, no Expect.
    std::unique_ptr<Exchange> start(const HttpRequest& request);
    // start and wait. `stop`, when it becomes true, cancels (checked every 50 ms).
    HttpResponse perform(const HttpRequest& request, const std::atomic<bool>* stop = nullptr);

    // Shared by all of this process's own buckets (private addresses allowed: its operator chose them), and
    // by all strangers' of the same rules.
    static std::shared_ptr<Transport> shared(const Rules& rules);

  private:
    class Loop;
    std::unique_ptr<Loop> loop_;
};

}  // namespace templar
