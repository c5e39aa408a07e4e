#include "tests/system/s3_server_auth.h"

#include "base/sha256.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

namespace templar::s3test {
namespace {

constexpr int64_t skew_s = 15 * 60;
constexpr int64_t longest_expiry_s = 604'800;

std::string hmac(std::string_view key, std::string_view text) {
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &length);
    return {reinterpret_cast<const char*>(out), length};
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts(1);
    for (const char c : text) {
        if (c == separator)
            parts.emplace_back();
        else
            parts.back() += c;
    }
    return parts;
}

std::string parameter(const HeaderLines& query, std::string_view name) {
    for (const auto& [key, value] : query)
        if (key == name) return value;
    return {};
}

// The text after `name` up to the next comma of an Authorization header.
std::string field(const std::string& authorization, const std::string& name) {
    const size_t begin = authorization.find(name);
    if (begin == std::string::npos) return {};
    const size_t from = begin + name.size();
    return trimmed(std::string_view(authorization).substr(from, authorization.find(',', from) - from));
}

bool read_credential(const std::string& text, Claim& claim) {
    std::vector<std::string> parts = split(text, '/');
    if (parts.size() < 5 || parts.back() != "aws4_request") return false;
    const size_t n = parts.size();
    claim.service = parts[n - 2];
    claim.region = parts[n - 3];
    claim.date = parts[n - 4];
    for (size_t i = 0; i + 4 < n; ++i) claim.key_id += (i ? "/" : "") + parts[i];
    return !claim.key_id.empty();
}

// Trimmed, every run of blanks one blank.
std::string canonical_value(std::string_view raw) {
    std::string result;
    for (const char c : trimmed(raw))
        if (!(c == ' ' && result.ends_with(' '))) result += c;
    return result;
}

std::optional<Refusal> judge_clock(const Claim& claim, int64_t now_s) {
    const std::optional<int64_t> signed_at = parse_timestamp(claim.timestamp);
    if (!signed_at) return Refusal{403, "AccessDenied", "no valid x-amz-date"};
    if (claim.timestamp.substr(0, 8) != claim.date)
        return Refusal{400, "AuthorizationHeaderMalformed",
                       "date of the credential is not that of the request"};
    if (!claim.presigned && std::llabs(now_s - *signed_at) > skew_s)
        return Refusal{403, "RequestTimeTooSkewed", "the clocks are too far apart"};
    if (!claim.presigned) return std::nullopt;
    if (claim.expires_s < 1 || claim.expires_s > longest_expiry_s)
        return Refusal{400, "AuthorizationQueryParametersError", "X-Amz-Expires must be 1 to 604800"};
    if (*signed_at > now_s + skew_s) return Refusal{403, "AccessDenied", "Request is not valid yet"};
    if (now_s > *signed_at + claim.expires_s) return Refusal{400, "ExpiredRequest", "Request has expired"};
    return std::nullopt;
}

std::optional<Refusal> judge_signed_headers(const Request& request, const Claim& claim) {
    const std::vector<std::string> names = split(claim.signed_headers, ';');
    if (!std::is_sorted(names.begin(), names.end()))
        return Refusal{400, "AuthorizationHeaderMalformed", "SignedHeaders are not sorted"};
    const auto is_signed = [&](const std::string& name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    if (!is_signed("host")) return Refusal{403, "AccessDenied", "Host is not signed"};
    for (const auto& [name, value] : request.lines)
        if (name.starts_with("x-amz-") && !is_signed(name))
            return Refusal{403, "AccessDenied",
                           "There were headers present in the request which were not signed: " + name};
    for (const std::string& name : names)
        if (!request.has(name)) return Refusal{403, "SignatureDoesNotMatch", "signed but not sent: " + name};
    return std::nullopt;
}

std::optional<Refusal> judge_body(const Request& request, const Claim& claim) {
    if (claim.payload.starts_with("STREAMING-"))
        return Refusal{501, "NotImplemented", claim.payload + " not implemented"};
    if (claim.payload != "UNSIGNED-PAYLOAD" && claim.payload != to_hex(sha256(request.body)))
        return Refusal{400, "XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not the hash of the body"};
    return std::nullopt;
}

}  // namespace

std::string md5(ByteSpan bytes) {
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_Digest(bytes.data(), bytes.size(), out, &length, EVP_md5(), nullptr);
    return {reinterpret_cast<const char*>(out), length};
}

std::string base64(std::string_view bytes) {
    std::string result(4 * ((bytes.size() + 2) / 3), '\0');
    EVP_EncodeBlock(reinterpret_cast<unsigned char*>(result.data()),
                    reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    return result;
}

std::optional<int64_t> parse_timestamp(const std::string& text) {
    std::tm fields{};
    const char* end = ::strptime(text.c_str(), "%Y%m%dT%H%M%SZ", &fields);
    if (text.size() != 16 || !end || *end) return std::nullopt;
    return ::timegm(&fields);
}

std::optional<Claim> read_claim(const Request& request, std::optional<Refusal>& refusal) {
    const std::string authorization = request.header("authorization");
    const HeaderLines query = query_parameters(request.query);
    const std::string algorithm = parameter(query, "X-Amz-Algorithm");
    if (authorization.empty() && algorithm.empty()) return std::nullopt;
    Claim claim;
    claim.presigned = authorization.empty();
    const bool both = !authorization.empty() && !algorithm.empty();
    std::string credential;
    if (claim.presigned) {
        credential = parameter(query, "X-Amz-Credential");
        claim.timestamp = parameter(query, "X-Amz-Date");
        claim.signed_headers = parameter(query, "X-Amz-SignedHeaders");
        claim.signature = parameter(query, "X-Amz-Signature");
        claim.token = parameter(query, "X-Amz-Security-Token");
        claim.expires_s = std::atoll(parameter(query, "X-Amz-Expires").c_str());
        claim.payload =
            request.has("x-amz-content-sha256") ? request.header("x-amz-content-sha256") : "UNSIGNED-PAYLOAD";
    } else {
        credential = field(authorization, "Credential=");
        claim.timestamp = request.header("x-amz-date");
        claim.signed_headers = field(authorization, "SignedHeaders=");
        claim.signature = field(authorization, "Signature=");
        claim.token = request.header("x-amz-security-token");
        claim.payload = request.header("x-amz-content-sha256");
        if (claim.payload.empty())
            refusal = Refusal{400, "InvalidRequest",
                              "Missing required header for this request: x-amz-content-sha256"};
    }
    if (both || !(claim.presigned ? algorithm : authorization).starts_with("AWS4-HMAC-SHA256") ||
        !read_credential(credential, claim) || claim.signed_headers.empty() || claim.signature.empty())
        refusal =
            Refusal{400, "AuthorizationHeaderMalformed", "expected one complete AWS4-HMAC-SHA256 signature"};
    return claim;
}

std::string canonical_request(const Request& request, const Claim& claim) {
    std::vector<std::pair<std::string, std::string>> query;
    for (const auto& [name, value] : query_parameters(request.query))
        if (name != "X-Amz-Signature")
            query.emplace_back(percent_encoded(name, false), percent_encoded(value, false));
    std::sort(query.begin(), query.end());
    std::string result =
        request.method + "\n" + percent_encoded(percent_decoded(request.path, false), true) + "\n";
    for (size_t i = 0; i < query.size(); ++i)
        result += (i ? "&" : "") + query[i].first + "=" + query[i].second;
    result += "\n";
    for (const std::string& name : split(claim.signed_headers, ';')) {
        result += name + ":";
        bool first = true;
        for (const auto& [line, value] : request.lines) {
            if (line != name) continue;
            result += (first ? "" : ",") + canonical_value(value);
            first = false;
        }
        result += "\n";
    }
    return result + "\n" + claim.signed_headers + "\n" + claim.payload;
}

std::string string_to_sign(const std::string& canonical, const Claim& claim) {
    return fmt::format("AWS4-HMAC-SHA256\n{}\n{}/{}/{}/aws4_request\n{}", claim.timestamp, claim.date,
                       claim.region, claim.service, to_hex(sha256(as_bytes(canonical))));
}

std::string signature_of(const std::string& to_sign, const std::string& secret, const Claim& claim) {
    std::string key = "AWS4" + secret;
    for (const std::string& step : {claim.date, claim.region, claim.service, std::string("aws4_request")})
        key = hmac(key, step);
    return to_hex(as_bytes(hmac(key, to_sign)));
}

std::optional<Refusal> judge(const Request& request, const Judge& rules, const Key*& signer) {
    signer = nullptr;
    std::optional<Refusal> refusal;
    const std::optional<Claim> claim = read_claim(request, refusal);
    if (refusal || !claim) return refusal;
    const auto key = std::find_if(rules.keys.begin(), rules.keys.end(),
                                  [&](const Key& known) { return known.id == claim->key_id; });
    if (key == rules.keys.end())
        return Refusal{403, "InvalidAccessKeyId",
                       "The access key ID you provided does not exist: " + claim->key_id};
    if (claim->service != rules.service || (!rules.region.empty() && claim->region != rules.region))
        return Refusal{400, "AuthorizationHeaderMalformed",
                       fmt::format("the region '{}' is wrong; expecting '{}'", claim->region, rules.region)};
    if ((refusal = judge_clock(*claim, rules.now_s))) return refusal;
    if ((refusal = judge_signed_headers(request, *claim))) return refusal;
    const std::string canonical = canonical_request(request, *claim);
    const std::string to_sign = string_to_sign(canonical, *claim);
    if (signature_of(to_sign, key->secret, *claim) != claim->signature)
        return Refusal{403, "SignatureDoesNotMatch",
                       "expected the signature of\n" + canonical + "\n" + to_sign};
    if (claim->token != key->session_token)
        return Refusal{403, "InvalidToken", "The security token is wrong."};
    if ((refusal = judge_body(request, *claim))) return refusal;
    const std::string content_md5 = request.header("content-md5");
    if (!content_md5.empty() && content_md5 != base64(md5(request.body)))
        return Refusal{400, "BadDigest", "The Content-MD5 you specified did not match what we received."};
    signer = &*key;
    return std::nullopt;
}

}  // namespace templar::s3test
