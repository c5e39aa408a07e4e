// SigV4 from the other side: the canonical request is rebuilt from the bytes that arrived, with nothing of
// the client's code.
#pragma once

#include "tests/system/s3_server.h"
#include "tests/system/s3_server_http.h"

namespace templar::s3test {

struct Refusal {
    int status = 0;
    std::string code, message;
};

// What the request says of its own signature, from its header or its query.
struct Claim {
    bool presigned = false;
    std::string key_id, date, region, service;  // the credential's parts; date: 20241122
    std::string timestamp;                      // 20241122T012345Z
    std::string signed_headers, signature, token;
    std::string payload;  // the last line of the canonical request
    int64_t expires_s = 0;
};
// Nothing when there is no claim at all; a Refusal in `refusal` when it is malformed.
std::optional<Claim> read_claim(const Request& request, std::optional<Refusal>& refusal);
std::string canonical_request(const Request& request, const Claim& claim);
std::string string_to_sign(const std::string& canonical, const Claim& claim);
std::string signature_of(const std::string& to_sign, const std::string& secret, const Claim& claim);

// "20241122T012345Z" to Unix seconds; nothing when malformed.
std::optional<int64_t> parse_timestamp(const std::string& text);
std::string md5(ByteSpan bytes);  // 16 raw bytes
std::string base64(std::string_view bytes);

struct Judge {
    std::vector<Key> keys;
    std::string region{};  // any when empty
    std::string service = "s3";
    int64_t now_s = 0;
};
// The key that signed the request, or why it is refused. `anonymous`: neither, when nothing is signed.
// Judges key, clock, signature, signed headers, body hash and Content-MD5.
std::optional<Refusal> judge(const Request& request, const Judge& rules, const Key*& signer);

}  // namespace templar::s3test
