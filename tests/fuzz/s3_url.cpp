// <bucket URL>\n<endpoint of a profile>\n<region>: a URL has one meaning, the same for the HTTP library; what
// a stranger may name leads nowhere private.
#include "net/s3/endpoint.h"
#include "tests/fuzz/target.h"

#include <curl/curl.h>
#include <netdb.h>
#include <sys/socket.h>

#include <memory>

using namespace templar;
using namespace templar::fuzz;

namespace {

std::string part_of(CURLU* url, CURLUPart part) {
    char* text = nullptr;
    require(curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK, "libcurl knows host and port");
    std::string result(text);
    curl_free(text);
    return result;
}

// libcurl, which connects, reads the same host and port from it.
void check_origin(const S3Location& location) {
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
    const std::string text = location.origin() + "/" + location.bucket + "/" + location.prefix;
    require(curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_PATH_AS_IS) == CURLUE_OK,
            "libcurl accepts what was accepted");
    const bool v6 = location.host.find(':') != std::string::npos;
    require(part_of(url.get(), CURLUPART_HOST) == (v6 ? "[" + location.host + "]" : location.host),
            "libcurl reads the same host");
    require(part_of(url.get(), CURLUPART_PORT) == std::to_string(location.port),
            "libcurl reads the same port");
}

// Whatever the C library's resolver takes for an address, in any notation, must be a public one.
void check_public(const std::string& host) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return;
    for (const addrinfo* each = found; each; each = each->ai_next)
        require(is_public_address(*each->ai_addr), "a stranger's endpoint is no private address");
    ::freeaddrinfo(found);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const std::string_view text = input.line(), endpoint = input.line(), region = input.line();
    const auto location = accepted([&] { return parse_s3_url(text, endpoint, region); }, ExitCode::usage);
    if (!location) return 0;
    const std::string url = location->url();
    for (const char c : url) require(c > ' ' && c <= '~', "a URL is printable");
    require(url.find("profile") == std::string::npos || location->profile.empty() ||
                (location->bucket + location->prefix + location->host + location->region).find("profile") !=
                    std::string::npos,
            "the profile is not published");
    S3Location again = parse_s3_url(url);
    require(again.profile.empty(), "the profile is not published");
    again.profile = location->profile;
    require(again.url() == url && again.origin() == location->origin() && again.https == location->https &&
                again.host == location->host && again.port == location->port &&
                again.bucket == location->bucket && again.prefix == location->prefix &&
                again.region == location->region,
            "a URL written is read as the same");
    check_origin(*location);
    for (const bool allow_http : {false, true})
        if (!refused([&] { check_stranger_endpoint(*location, allow_http, false); })) {
            require(location->https || allow_http, "plain http only where it is allowed");
            check_public(location->host);
        }
    return 0;
}
