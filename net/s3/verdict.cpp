#include "net/s3/verdict.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include <fmt/core.h>

namespace templar {

namespace {

constexpr int64_t longest_wait_ms = 24 * 3600 * 1000;

bool one_of(std::string_view text, std::initializer_list<std::string_view> choices) {
    return std::find(choices.begin(), choices.end(), text) != choices.end();
}

bool retried_status(int status) {
    constexpr std::array statuses{408, 429, 500, 502, 503, 504};
    return std::find(statuses.begin(), statuses.end(), status) != statuses.end() ||
           (status >= 520 && status <= 527);  // Cloudflare's: the origin did not answer
}

}  // namespace

int64_t system_ms() {
    using std::chrono::milliseconds;
    return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

bool is_passing(int status, std::string_view code) {
    if (status == 409) return one_of(code, {"", "ConditionalRequestConflict", "OperationAborted"});
    if (status == 400)
        return one_of(code, {"IncompleteBody", "ClientDisconnect", "BadDigest", "RequestTimeout"});
    return retried_status(status);
}

bool is_clock_code(std::string_view code) {
    return one_of(code, {"RequestTimeTooSkewed", "ExpiredRequest"});
}

bool is_missing(int status, std::string_view code, const HttpResponse& response) {
    return status == 404 &&
           (response.body.empty() || one_of(code, {"NoSuchKey", "NotFound", "NoSuchUpload"}));
}

int hidden_status(std::string_view code) {
    if (code == "PreconditionFailed") return 412;
    if (code == "NoSuchUpload") return 404;
    if (code == "AccessDenied") return 403;
    if (one_of(code, {"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"})) return 400;
    return 500;
}

std::optional<int64_t> retry_after_ms(const HttpResponse& response) {
    const std::string_view text = response.header("retry-after");
    if (text.empty()) return std::nullopt;
    int64_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error == std::errc() && end == text.data() + text.size())
        return std::clamp<int64_t>(seconds, 0, longest_wait_ms / 1000) * 1000;
    const std::optional<int64_t> when = parse_http_date(text);
    if (!when) return std::nullopt;
    // By the clock that wrote it.
    const int64_t now = parse_http_date(response.header("date")).value_or(system_ms());
    return std::clamp<int64_t>(*when - now, 0, longest_wait_ms);
}

std::string_view advice_for(int status, std::string_view code) {
    if (is_clock_code(code)) return "set this machine's clock";
    if (code == "NoSuchBucket") return "look at the bucket's name, or create the bucket";
    if (code == "SignatureDoesNotMatch") return "look at the secret access key and at region=";
    if (code == "InvalidAccessKeyId" || status == 401)
        return "look at the access key: the service does not know it (a new one may take a minute)";
    if (code == "AuthorizationHeaderMalformed" || code == "PermanentRedirect" || status / 100 == 3)
        return "look at region= and endpoint= in the bucket's URL";
    if (code == "EntityTooLarge") return "the service does not take objects of this size";
    if (status == 403)
        return "this key may not do that (some services say so of objects that do not exist, too)";
    if (status == 404) return "look at endpoint= in the bucket's URL: this is no answer of an S3 service";
    if (status == 429 || status == 503) return "the service is busy: try later, or ask for less at a time";
    if (status >= 500) return "the service is in trouble: try later";
    return "expected an answer of an S3 service to a request it can carry out";
}

std::string_view advice_for(NetFault fault) {
    switch (fault) {
        case NetFault::address:
            return "look at endpoint= in the bucket's URL, and at the name service";
        case NetFault::connect:
            return "look at endpoint= in the bucket's URL, and at the network";
        default:
            return "look at the network, or try later";
    }
}

std::string describe(int status, const S3Fault& fault, const HttpResponse& response) {
    std::string text = fmt::format("{}", status);
    if (!fault.code.empty()) text += " " + fault.code;
    if (!fault.message.empty()) text += fmt::format(" \"{}\"", fault.message);
    for (const char* name : {"x-amz-request-id", "cf-ray"})
        if (const std::string_view id = response.header(name); !id.empty())
            return text + fmt::format(" ({} {})", name, id);
    return text;
}

bool may_resolve_later(const HttpResponse& response) {
    // libcurl: "Could not resolve host", "Resolving timed out".
    return response.detail.find("esolv") != std::string::npos;
}

}  // namespace templar
