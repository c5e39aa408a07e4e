// <access key id>\n<session token>\n<region>\n<header name>\n<header value>\n<query>\n<path>: whatever a
// stranger's read key, key and answers hold, a signed request is one request: nothing in it ends a header or
// a line.
#include "net/s3/sign.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr std::string_view origin = "https://a.example";

std::string percent_decoded(std::string_view text) {
    std::string raw;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%') {
            raw += static_cast<char>(from_hex(text.substr(i + 1, 2), 1, "escape")[0]);
            i += 2;
        } else {
            raw += text[i];
        }
    }
    return raw;
}

void check_request(const S3Request& request, const SignedRequest& made) {
    for (const char c : made.url) require(c > ' ' && c <= '~', "a URL is printable");
    const std::string_view url = made.url;
    require(url.starts_with(origin), "a request goes to its origin");
    const size_t query = std::min(url.find('?'), url.size());
    require(percent_decoded(url.substr(origin.size(), query - origin.size())) == request.path,
            "a path is sent as it is");
    require(url.find('#') == url.npos, "a URL has no fragment");
    for (const auto& [name, value] : made.headers) {
        require(!name.empty() &&
                    std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~' && c != ':'; }),
                "a header's name is one");
        require(value.find_first_of(std::string_view("\r\n\0", 3)) == value.npos, "a header is one line");
    }
    require(from_hex(made.signature, 32, "signature").size() == 32, "a signature is a MAC");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    S3Credentials keys;
    keys.access_key_id = input.line();
    keys.secret_access_key = "secret";
    keys.session_token = input.line();
    const std::string region(input.line()), name(input.line()), value(input.line()), query(input.line());
    if (keys.access_key_id.empty() || region.empty()) return 0;  // no key, no signature
    S3Request request{.method = "GET", .origin = std::string(origin)};
    request.path = "/" + std::string(input.rest_text());
    if (!name.empty()) request.headers = {{name, value}, {"range", "bytes=0-1"}, {name, "x"}};
    if (!query.empty()) request.query = {{query, value}, {"prefix", query}, {name, std::nullopt}};
    accepted([&] {
        const Signer signer(keys, region);
        constexpr int64_t now = 1'800'000'000;
        check_request(request, signer.sign(request, unsigned_payload, now));
        check_request(request, signer.presign(request, now, 60));
        return true;
    });
    return 0;
}
