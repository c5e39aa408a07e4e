#include "net/s3/sign.h"

#include "base/error.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>

namespace templar {

namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

// Proxies on the way alter these, or they are no part of the message.
constexpr std::array<std::string_view, 11> never_signed = {"connection",
                                                           "expect",
                                                           "keep-alive",
                                                           "proxy-authenticate",
                                                           "proxy-authorization",
                                                           "te",
                                                           "trailer",
                                                           "transfer-encoding",
                                                           "upgrade",
                                                           "user-agent",
                                                           "x-amzn-trace-id"};

using HeaderMap = std::map<std::string, std::string>;  // name in lower case → canonical value
using Query = std::vector<std::pair<std::string, std::string>>;

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

bool is_alphanumeric(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool consists_of(std::string_view text, std::string_view others) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
        return is_alphanumeric(c) || others.find(c) != others.npos;
    });
}

Digest hmac_sha256(ByteSpan key, std::string_view text) {
    Digest mac{};
    const ByteSpan bytes = as_bytes(text);
    if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(), mac.data(),
              nullptr))
        fail(ExitCode::internal, "OpenSSL refused to compute HMAC-SHA256");
    return mac;
}

// "20260714T081530Z"; its first eight characters are the date of the signing key.
std::string timestamp(int64_t unix_time) {
    using namespace std::chrono;
    const sys_seconds now{seconds(unix_time)};
    const sys_days day = floor<days>(now);
    const year_month_day date(day);
    const hh_mm_ss time(now - day);
    return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", int(date.year()), unsigned(date.month()),
                       unsigned(date.day()), time.hours().count(), time.minutes().count(),
                       time.seconds().count());
}

struct Origin {
    std::string scheme;  // "https://"
    std::string host;    // lower case, with the port unless it is the scheme's own
};

Origin parse_origin(std::string_view origin) {
    const bool https = origin.starts_with("https://");
    if (!https && !origin.starts_with("http://"))
        fail(ExitCode::input, "expected an origin https://host[:port], found '{}'", origin);
    const std::string_view scheme = origin.substr(0, https ? 8 : 7);
    std::string host = lower(origin.substr(scheme.size()));
    if (!consists_of(host, ".-_:[]"))
        fail(ExitCode::input, "expected an origin https://host[:port], found '{}'", origin);
    const std::string_view own_port = https ? ":443" : ":80";
    if (host.ends_with(own_port)) host.resize(host.size() - own_port.size());
    return {std::string(scheme), std::move(host)};
}

// Trimmed; every run of spaces is one.
std::string canonical_value(std::string_view raw) {
    const size_t first = raw.find_first_not_of(" \t"), last = raw.find_last_not_of(" \t");
    std::string value;
    if (first == raw.npos) return value;
    for (const char c : raw.substr(first, last - first + 1))
        if (c != ' ' || value.back() != ' ') value += c;
    return value;
}

void add_header(HeaderMap& headers, std::string_view raw_name, std::string_view raw_value) {
    const std::string name = lower(raw_name);
    if (!consists_of(name, "!#$%&'*+-.^_`|~"))
        fail(ExitCode::input,
             "a request header's name is not one of HTTP's; expected letters, digits and '-'");
    if (raw_value.find_first_of(std::string_view("\r\n\0", 3)) != raw_value.npos)
        fail(ExitCode::input, "the value of request header {} contains CR, LF or NUL", name);
    const auto [place, is_new] = headers.try_emplace(name, canonical_value(raw_value));
    if (!is_new) place->second += "," + canonical_value(raw_value);
}

HeaderMap given_headers(const S3Request& request) {
    HeaderMap headers;
    for (const auto& [name, value] : request.headers) add_header(headers, name, value);
    for (const char* own :
         {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"})
        if (headers.contains(own)) fail(ExitCode::input, "header {} is the signer's to write", own);
    return headers;
}

bool is_signed(const std::string& name) {
    return std::find(never_signed.begin(), never_signed.end(), name) == never_signed.end();
}

std::string signed_names(const HeaderMap& headers) {
    std::string names;
    for (const auto& [name, value] : headers)
        if (is_signed(name)) names += (names.empty() ? "" : ";") + name;
    return names;
}

Query encoded_query(const S3Request& request) {
    Query query;
    for (const auto& [name, value] : request.query)
        query.emplace_back(uri_encode(name, false), uri_encode(value.value_or(""), false));
    return query;
}

// Sorted by name, then by value: sorting "name=value" would put "id-type=" before "id=".
std::string canonical_query(Query query) {
    std::sort(query.begin(), query.end());
    std::string text;
    for (const auto& [name, value] : query) {
        if (!text.empty()) text += '&';
        text.append(name).append("=").append(value);
    }
    return text;
}

std::string encoded_path(const S3Request& request) {
    if (request.path.empty()) return "/";
    // Without it the path would become a part of the host's name.
    if (request.path[0] != '/') fail(ExitCode::input, "a request's path does not begin with '/'");
    return uri_encode(request.path, true);
}

// Fills the steps and the signature from what is to be sent.
void sign_steps(SignedRequest& out, const S3Request& request, const HeaderMap& headers,
                const std::string& query, std::string_view payload_hash, const std::string& stamp,
                const std::string& scope, const Digest& key) {
    std::string& text = out.canonical_request;
    text = request.method + "\n" + encoded_path(request) + "\n" + query + "\n";
    for (const auto& [name, value] : headers)
        if (is_signed(name)) text.append(name).append(":").append(value).append("\n");
    out.signed_headers = signed_names(headers);
    text.append("\n").append(out.signed_headers).append("\n").append(payload_hash);
    out.string_to_sign =
        fmt::format("{}\n{}\n{}\n{}", algorithm, stamp, scope, to_hex(sha256(as_bytes(text))));
    out.signature = to_hex(hmac_sha256(key, out.string_to_sign));
}

HttpHeaders without_host(HeaderMap headers) {
    headers.erase("host");
    return {headers.begin(), headers.end()};
}

}  // namespace

std::string uri_encode(std::string_view raw, bool keep_slash) {
    constexpr char digits[] = "0123456789ABCDEF";
    std::string text;
    text.reserve(raw.size());
    for (const char c : raw) {
        if (is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash)) {
            text += c;
        } else {
            const auto byte = static_cast<uint8_t>(c);
            text.append({'%', digits[byte >> 4], digits[byte & 15]});
        }
    }
    return text;
}

std::string request_url(const S3Request& request) {
    const Origin origin = parse_origin(request.origin);
    const std::string query = canonical_query(encoded_query(request));
    return origin.scheme + origin.host + encoded_path(request) + (query.empty() ? "" : "?" + query);
}

Signer::Signer(S3Credentials credentials, std::string region, std::string service)
    : credentials_(std::move(credentials)), region_(std::move(region)), service_(std::move(service)) {
    // They may be a stranger's, and become a part of headers and URLs.
    for (const std::string* text :
         {&credentials_.access_key_id, &credentials_.session_token, &region_, &service_})
        for (const char c : *text)
            if (!(c > ' ' && c < 0x7f) || c == ',')
                fail(ExitCode::input,
                     "an S3 access key id, session token or region has a blank, comma or control character "
                     "in it; expected printable ASCII");
}

// "20260714/auto/s3/aws4_request"
std::string Signer::scope(std::string_view date) const {
    if (credentials_.empty() || region_.empty())
        fail(ExitCode::identity, "a request cannot be signed without an S3 access key and a region");
    return fmt::format("{}/{}/{}/aws4_request", date, region_, service_);
}

Digest Signer::signing_key(std::string_view date) const {
    const std::lock_guard lock(mutex_);
    if (key_date_ != date) {
        std::string secret = "AWS4" + credentials_.secret_access_key;
        key_ = hmac_sha256(as_bytes(secret), date);
        OPENSSL_cleanse(secret.data(), secret.size());
        for (const std::string_view step :
             {std::string_view(region_), std::string_view(service_), std::string_view("aws4_request")})
            key_ = hmac_sha256(key_, step);
        key_date_ = date;
    }
    return key_;
}

SignedRequest Signer::sign(const S3Request& request, std::string_view payload_hash, int64_t unix_time,
                           bool content_sha256_header) const {
    const Origin origin = parse_origin(request.origin);
    const std::string stamp = timestamp(unix_time), date = stamp.substr(0, 8);
    const std::string scope = this->scope(date);
    SignedRequest out{.url = request_url(request), .host = origin.host};
    HeaderMap headers = given_headers(request);
    add_header(headers, "host", origin.host);
    add_header(headers, "x-amz-date", stamp);
    if (content_sha256_header) add_header(headers, "x-amz-content-sha256", payload_hash);
    if (!credentials_.session_token.empty())
        add_header(headers, "x-amz-security-token", credentials_.session_token);
    sign_steps(out, request, headers, canonical_query(encoded_query(request)), payload_hash, stamp, scope,
               signing_key(date));
    add_header(headers, "authorization",
               fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", algorithm,
                           credentials_.access_key_id, scope, out.signed_headers, out.signature));
    out.headers = without_host(std::move(headers));
    return out;
}

SignedRequest Signer::presign(const S3Request& request, int64_t unix_time, int64_t expires_s,
                              std::string_view payload_hash) const {
    if (expires_s < 1 || expires_s > 604'800)
        fail(ExitCode::usage, "a presigned URL lives 1 … 604800 seconds (7 days), found {}", expires_s);
    const Origin origin = parse_origin(request.origin);
    const std::string stamp = timestamp(unix_time), date = stamp.substr(0, 8);
    const std::string scope = this->scope(date);
    HeaderMap headers = given_headers(request);
    add_header(headers, "host", origin.host);
    Query query = encoded_query(request);
    const auto add = [&](std::string_view name, std::string_view value) {
        query.emplace_back(name, uri_encode(value, false));
    };
    add("X-Amz-Algorithm", algorithm);
    add("X-Amz-Credential", credentials_.access_key_id + "/" + scope);
    add("X-Amz-Date", stamp);
    add("X-Amz-Expires", std::to_string(expires_s));
    if (!credentials_.session_token.empty()) add("X-Amz-Security-Token", credentials_.session_token);
    add("X-Amz-SignedHeaders", signed_names(headers));
    const std::string text = canonical_query(std::move(query));
    SignedRequest out{.host = origin.host};
    sign_steps(out, request, headers, text, payload_hash, stamp, scope, signing_key(date));
    out.url = fmt::format("{}{}{}?{}&X-Amz-Signature={}", origin.scheme, origin.host, encoded_path(request),
                          text, out.signature);
    out.headers = without_host(std::move(headers));
    return out;
}

}  // namespace templar
