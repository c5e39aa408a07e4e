// AWS Signature Version 4 as S3 wants it: the path is encoded once and never normalised.
// Source: AWS General Reference, "Signature Version 4 signing process"; S3 API Reference, "Authenticating
// Requests".
#pragma once

#include "base/sha256.h"
#include "net/s3/credentials.h"

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace templar {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// A request with nothing encoded yet.
struct S3Request {
    std::string method{};
    std::string origin{};                                                     // "https://host[:port]"
    std::string path{};                                                       // "/bucket/key": raw bytes
    std::vector<std::pair<std::string, std::optional<std::string>>> query{};  // nothing: a name without '='
    HttpHeaders headers{};                                                    // without Host
};

inline constexpr std::string_view unsigned_payload = "UNSIGNED-PAYLOAD";

struct SignedRequest {
    std::string url{};      // to be sent byte for byte
    std::string host{};     // the Host header to send
    HttpHeaders headers{};  // all to send beside Host: the given ones (repeats joined), and the signer's
    // The steps, for tests.
    std::string canonical_request{}, string_to_sign{}, signed_headers{}, signature{};
};

// Percent-encoding of RFC 3986's reserved bytes, upper-case digits; '/' stays when `keep_slash`.
std::string uri_encode(std::string_view raw, bool keep_slash);
// "https://host/bucket/key?query" of a request that needs no signature (a public bucket).
std::string request_url(const S3Request& request);

class Signer {
  public:
    // Without credentials (a public bucket) it refuses to sign. Throws Error(input) when one of them does not
    // fit into a header.
    Signer(S3Credentials credentials, std::string region, std::string service = "s3");

    // With an Authorization header. `payload_hash`: the body's SHA-256 in hexadecimal, or unsigned_payload;
    // sent as x-amz-content-sha256 unless `content_sha256_header` is false (other services than S3). Throws
    // Error(input) on CR, LF or NUL in a header.
    SignedRequest sign(const S3Request& request, std::string_view payload_hash, int64_t unix_time,
                       bool content_sha256_header = true) const;
    // A URL that carries its own permission for `expires_s` (1 … 604,800; else Error(usage)); whoever uses it
    // must send the request's headers unchanged.
    SignedRequest presign(const S3Request& request, int64_t unix_time, int64_t expires_s,
                          std::string_view payload_hash = unsigned_payload) const;
    // HMAC chain date → region → service → "aws4_request"; kept until the UTC day changes.
    Digest signing_key(std::string_view date) const;

    const S3Credentials& credentials() const { return credentials_; }

  private:
    std::string scope(std::string_view date) const;

    S3Credentials credentials_;
    std::string region_, service_;
    mutable std::mutex mutex_;
    mutable std::string key_date_;
    mutable Digest key_{};
};

}  // namespace templar
