// Where an S3 bucket is, and whether a stranger may send us there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

struct sockaddr;

namespace templar {

// s3://bucket[/prefix]?endpoint=https://host[:port]&region=auto&profile=name. Requests are path-style:
// origin/bucket/prefix/key.
struct S3Location {
    bool https = true;
    std::string host;  // lower case; a name or a literal address, IPv6 without brackets
    uint16_t port = 443;
    std::string bucket;          // 3 … 63 of a-z 0-9 . -
    std::string prefix;          // "" or "a/b": a key (net/bucket/key.h)
    std::string region;          // "auto" for R2; default us-east-1
    std::string profile;         // of the operator's key file; never published
    std::string origin() const;  // "https://host[:port]", the port only when it is not the scheme's own
    // Canonical, without the profile.
    std::string url() const;
};

// Throws Error(usage) that says what is wrong and shows the form: user-info, fragments, paths in the
// endpoint, unknown or repeated parameters, bad ports, anything that is not printable ASCII, host names that
// resolvers read as addresses (0x7f000001, 127.1). Parameters may be percent-encoded. `endpoint` and `region`
// fill what the URL leaves open (from a profile or the environment).
S3Location parse_s3_url(std::string_view url, std::string_view endpoint = {}, std::string_view region = {});

// What a name resolves to is judged when it is connected to (Transport); this judges what can be seen before.
// Throws Error(input): http without allow_http; a port other than 443, 80 (http) and 1024…65535; without
// allow_private a literal private address, a name without a dot, and names under localhost, local and
// internal; a host under r2.cloudflarestorage.com that is not <32 hex
// digits>[.<jurisdiction>].r2.cloudflarestorage.com with https and port 443.
void check_stranger_endpoint(const S3Location& location, bool allow_http, bool allow_private);

// False for loopback, RFC 1918, link-local (cloud metadata), CGNAT, unique-local, multicast, unspecified,
// documentation, benchmarking and reserved ranges, IPv4-mapped and NAT64/6to4-embedded forms of these, and
// any family but IPv4 and IPv6.
bool is_public_address(const sockaddr& address);

}  // namespace templar
