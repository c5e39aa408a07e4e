// Who may do what, and until when: the refusals of a real service.
#include "base/sha256.h"
#include "tests/radosgw/server.h"

#include <doctest/doctest.h>

#include <functional>

using namespace templar;

namespace {

const std::string hello = "hello";

struct Asked {
    S3Profile profile = LocalServer::instance().profile("first");
    S3Request request = request_of(profile, "GET", "/first/permission");
    int64_t time = now_s();
    SignedRequest sign(const std::string& body = "") const {
        return Signer(profile.credentials, profile.region)
            .sign(request, to_hex(sha256(as_bytes(body))), time);
    }
    SignedRequest presign(int64_t expires_s = 60) const {
        return Signer(profile.credentials, profile.region).presign(request, time, expires_s);
    }
};

void prepare() {
    Asked asked;
    asked.request.method = "PUT";
    REQUIRE(send("PUT", asked.sign(hello), hello).status == 200);
}

void replace(std::string& text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
}

std::string& header(SignedRequest& request, const std::string& name) {
    for (auto& [header_name, value] : request.headers)
        if (header_name == name) return value;
    FAIL("no header " << name);
    return request.url;
}

void expect(const HttpResponse& response, int status, const std::string& code) {
    CAPTURE(response.body);
    CHECK(response.status == status);
    CHECK(response.body.find("<Code>" + code + "</Code>") != std::string::npos);
}

TEST_CASE("another key, secret or time is refused") {
    prepare();
    Asked good;
    CHECK(send("GET", good.sign()).body == hello);
    Asked wrong_secret;
    wrong_secret.profile.credentials.secret_access_key.back() ^= 1;
    expect(send("GET", wrong_secret.sign()), 403, "SignatureDoesNotMatch");
    expect(send("GET", wrong_secret.presign()), 403, "SignatureDoesNotMatch");
    Asked unknown;
    unknown.profile.credentials.access_key_id = "NOBODY";
    expect(send("GET", unknown.sign()), 403, "InvalidAccessKeyId");
    expect(send("GET", unknown.presign()), 403, "InvalidAccessKeyId");
    for (const int64_t minutes : {-20, 20}) {
        Asked skewed;
        skewed.time += minutes * 60;
        expect(send("GET", skewed.sign()), 403, "RequestTimeTooSkewed");
    }
    for (const int64_t minutes : {-14, 14}) {
        Asked skewed;
        skewed.time += minutes * 60;
        CHECK(send("GET", skewed.sign()).status == 200);
    }
    SignedRequest anonymous;
    anonymous.url = request_url(good.request);
    expect(send("GET", anonymous), 403, "AccessDenied");
    expect(send("PUT", anonymous, hello), 403, "AccessDenied");
}

TEST_CASE("a signed request that is changed on its way is refused") {
    prepare();
    using Change = std::function<void(SignedRequest&)>;
    const std::pair<const char*, Change> changes[] = {
        {"key", [](SignedRequest& r) { replace(r.url, "permission", "permissio%6E"); }},
        {"another key", [](SignedRequest& r) { replace(r.url, "permission", "other"); }},
        {"bucket", [](SignedRequest& r) { replace(r.url, "/first/", "/second/"); }},
        {"query", [](SignedRequest& r) { r.url += "&versionId=null"; }},
        {"query's value", [](SignedRequest& r) { replace(r.url, "x-id=1", "x-id=2"); }},
        {"header", [](SignedRequest& r) { header(r, "x-amz-meta-a") = "2"; }},
        {"date", [](SignedRequest& r) { header(r, "x-amz-date")[14] ^= 1; }},
        {"signature", [](SignedRequest& r) { header(r, "authorization").back() ^= 1; }},
        {"payload's hash", [](SignedRequest& r) { header(r, "x-amz-content-sha256") = unsigned_payload; }},
    };
    Asked asked;
    asked.request.headers = {{"x-amz-meta-a", "1"}};
    asked.request.query = {{"x-id", "1"}};
    CHECK(send("GET", asked.sign()).status == 200);
    for (const auto& [name, change] : changes) {
        CAPTURE(name);
        SignedRequest request = asked.sign();
        change(request);
        // Another spelling of the same key is the same request.
        CHECK(send("GET", request).status == (name == std::string("key") ? 200 : 403));
    }
    expect(send("DELETE", asked.sign()), 403, "SignatureDoesNotMatch");
}

TEST_CASE("a presigned URL permits one thing, for its time") {
    prepare();
    Asked asked;
    const std::string url = asked.presign().url;
    const auto status = [](const std::string& method, const std::string& target,
                           const std::string& body = "") {
        return send(method, {.url = target}, body).status;
    };
    CHECK(send("GET", {.url = url}).body == hello);
    for (const char* method : {"PUT", "DELETE", "HEAD"}) CHECK(status(method, url) == 403);
    const std::pair<const char*, const char*> changes[] = {
        {"permission", "other"},
        {"X-Amz-Expires=60", "X-Amz-Expires=61"},
        {"X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host%3Ba"},
        {"X-Amz-Algorithm", "partNumber=1&X-Amz-Algorithm"}};
    for (const auto& [from, to] : changes) {
        CAPTURE(to);
        std::string changed = url;
        replace(changed, from, to);
        CHECK(status("GET", changed) == 403);
    }
    Asked old;
    old.time -= 100;
    CHECK(status("GET", old.presign(110).url) == 200);
    expect(send("GET", {.url = old.presign(90).url}), 403, "AccessDenied");

    for (const char* method : {"HEAD", "PUT", "GET", "DELETE"}) {
        asked.request.method = method;
        CAPTURE(method);
        CHECK(status(method, asked.presign().url) == (method == std::string("DELETE") ? 204 : 200));
    }
    asked.request.method = "GET";
    CHECK(status("GET", asked.presign().url) == 404);
}

TEST_CASE("headers signed into a URL must be sent") {
    prepare();
    Asked asked;
    asked.request.method = "PUT";
    asked.request.headers = {{"Content-Type", "text/plain"}, {"x-amz-meta-a", "b"}};
    SignedRequest request = asked.presign();
    CHECK(send("PUT", request, hello).status == 200);
    header(request, "content-type") = "text/html";
    CHECK(send("PUT", request, hello).status == 403);
    request.headers.clear();
    CHECK(send("PUT", request, hello).status == 403);
}

TEST_CASE("a write-once ticket works once") {
    Asked asked;
    asked.request = request_of(asked.profile, "PUT", "/first/ticket");
    asked.request.headers = {{"If-None-Match", "*"}};
    const SignedRequest ticket = asked.presign();
    CHECK(send("PUT", {.url = ticket.url}, "without the header").status == 403);
    CHECK(send("PUT", {.url = ticket.url, .headers = {{"if-none-match", "\"0\""}}}, "another").status == 403);
    CHECK(send("PUT", ticket, "first").status == 200);
    CHECK(send("PUT", ticket, "second").status == 412);
    asked.request = request_of(asked.profile, "GET", "/first/ticket");
    CHECK(send("GET", asked.sign()).body == "first");
}

TEST_CASE("a read key gets objects and nothing else") {
    prepare();
    const S3Profile reader = LocalServer::instance().profile("first-read");
    const auto status = [&](const std::string& method, const std::string& path,
                            decltype(S3Request::query) query = {}) {
        S3Request request = request_of(reader, method, path);
        request.query = std::move(query);
        return ask(reader, request).status;
    };
    CHECK(status("GET", "/first/permission") == 200);
    CHECK(status("HEAD", "/first/permission") == 200);
    CHECK(status("GET", "/first/nothing") == 404);
    CHECK(status("PUT", "/first/permission") == 403);
    CHECK(status("DELETE", "/first/permission") == 403);
    CHECK(status("POST", "/first/permission", {{"uploads", std::nullopt}}) == 403);
    CHECK(status("GET", "/first") == 403);
    CHECK(status("GET", "/first", {{"list-type", "2"}}) == 403);
    CHECK(status("GET", "/first", {{"uploads", std::nullopt}}) == 403);
    CHECK(status("GET", "/first", {{"policy", std::nullopt}}) == 403);
    CHECK(status("DELETE", "/first", {{"policy", std::nullopt}}) == 403);
    CHECK(status("PUT", "/third") != 200);
    CHECK(status("GET", "/second/permission") == 403);
}

TEST_CASE("an owner's key ends at its bucket") {
    const S3Profile second = LocalServer::instance().profile("second");
    prepare();
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE"}) {
        CAPTURE(method);
        CHECK(ask(second, request_of(second, method, "/first/permission")).status == 403);
    }
    CHECK(ask(second, request_of(second, "PUT", "/third")).status != 200);
}

}  // namespace
