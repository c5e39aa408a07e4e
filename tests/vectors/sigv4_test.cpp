// Every case of every sigv4*.json: AWS's own signing suite, the S3 documentation's examples, requests signed
// by botocore.
#include "base/error.h"
#include "net/s3/sign.h"
#include "tests/vectors/vectors.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <functional>
#include <thread>

using namespace templar;
using nlohmann::json;

namespace {

std::string optional_text(const json& value) {
    return value.is_null() ? std::string() : value.get<std::string>();
}

Signer read_signer(const json& test) {
    const json& keys = test.at("credentials");
    return Signer({.access_key_id = keys.at("access_key"),
                   .secret_access_key = keys.at("secret_key"),
                   .session_token = optional_text(keys.at("session_token"))},
                  test.at("region"), test.at("service"));
}

S3Request read_request(const json& test) {
    S3Request request{.method = test.at("method"), .origin = test.at("endpoint"), .path = test.at("path")};
    for (const json& pair : test.at("query")) {
        std::optional<std::string> value;
        if (!pair.at(1).is_null()) value = pair.at(1).get<std::string>();
        request.query.emplace_back(pair.at(0).get<std::string>(), std::move(value));
    }
    for (const json& pair : test.at("headers"))
        request.headers.emplace_back(pair.at(0).get<std::string>(), pair.at(1).get<std::string>());
    return request;
}

std::string payload_hash(const json& test) {
    if (test.at("payload") == "unsigned") return std::string(unsigned_payload);
    REQUIRE(test.at("payload") == "sha256");
    const std::string hex = test.at("body_hex");
    const Bytes bytes = from_hex(hex, hex.size() / 2, "body_hex");
    Sha256 hash;
    for (int64_t i = test.value("body_repeat", int64_t(1)); i > 0; --i) hash.update(bytes);
    return to_hex(hash.finish());
}

// The values a header is sent with, and how often it is sent.
std::vector<std::string> sent(const SignedRequest& request, std::string_view name) {
    std::vector<std::string> values;
    for (const auto& [key, value] : request.headers)
        if (key == name) values.push_back(value);
    return values;
}

void check_headers(const SignedRequest& found, const S3Request& request, const json& added) {
    std::vector<std::string> given;
    for (const auto& [name, value] : request.headers) {
        given.push_back(name);
        std::transform(name.begin(), name.end(), given.back().begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        CHECK_MESSAGE(sent(found, given.back()).size() == 1, name);
    }
    std::sort(given.begin(), given.end());
    given.erase(std::unique(given.begin(), given.end()), given.end());
    for (const auto& [name, value] : added.items())
        CHECK_MESSAGE(sent(found, name) == std::vector{value.get<std::string>()}, name);
    CHECK(found.headers.size() == given.size() + added.size());
}

void check_case(const json& test) {
    INFO("case " << test.at("id").get<std::string>());
    const Signer signer = read_signer(test);
    const S3Request request = read_request(test);
    const int64_t time = test.at("unix_time");
    const SignedRequest found =
        test.at("mode") == "query"
            ? signer.presign(request, time, test.at("expires"), payload_hash(test))
            : signer.sign(request, payload_hash(test), time, test.at("content_sha256_header").get<bool>());
    const json& expected = test.at("expected");
    // What a signer that normalises paths makes of it: S3 never does.
    if (test.at("rule") == "differ") {
        const json& normalised = test.contains("generic") ? test.at("generic") : expected;
        CHECK(found.signature != normalised.at("signature"));
        if (!test.contains("generic")) return;
    }
    CHECK(found.canonical_request == expected.at("canonical_request"));
    CHECK(found.string_to_sign == expected.at("string_to_sign"));
    CHECK(to_hex(signer.signing_key(test.at("timestamp").get<std::string>().substr(0, 8))) ==
          expected.at("signing_key"));
    CHECK(found.signature == expected.at("signature"));
    CHECK(found.signed_headers == expected.at("signed_headers"));
    CHECK(found.host == expected.at("host"));
    CHECK(found.url == expected.at("url"));
    check_headers(found, request, expected.at("headers"));
}

}  // namespace

TEST_CASE("sigv4 vectors") {
    vectors::for_each_file("sigv4", [](const json& file) {
        REQUIRE(file.at("schema") == "s3-sigv4/1");
        for (const json& test : file.at("cases")) check_case(test);
    });
}

namespace {

const S3Credentials example{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
constexpr int64_t noon = 1'784'030'400;  // 2026-07-14 12:00:00 UTC

S3Request get(const std::string& path) {
    return {.method = "GET", .origin = "https://host", .path = path};
}

ExitCode refusal(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.code();
    }
    return ExitCode::ok;
}

}  // namespace

TEST_CASE("the signing key changes at midnight UTC, back and forth") {
    const Signer signer(example, "auto");
    const S3Request request = get("/runs/t");
    const int64_t midnight = 1'784'073'600;  // 2026-07-15 00:00:00 UTC
    const SignedRequest before = signer.sign(request, unsigned_payload, midnight - 1);
    const SignedRequest after = signer.sign(request, unsigned_payload, midnight);
    CHECK(before.string_to_sign.find("20260714T235959Z\n20260714/auto/s3/") != std::string::npos);
    CHECK(after.string_to_sign.find("20260715T000000Z\n20260715/auto/s3/") != std::string::npos);
    CHECK(signer.signing_key("20260714") != signer.signing_key("20260715"));
    for (const int64_t time : {midnight - 1, midnight, midnight - 1}) {
        const SignedRequest fresh = Signer(example, "auto").sign(request, unsigned_payload, time);
        CHECK(signer.sign(request, unsigned_payload, time).signature == fresh.signature);
    }
    const auto stamp = [&](int64_t time) {
        return signer.sign(request, unsigned_payload, time).string_to_sign.substr(17, 16);
    };
    CHECK(stamp(0) == "19700101T000000Z");
    CHECK(stamp(951'827'696) == "20000229T123456Z");
}

TEST_CASE("one signer serves many threads, on both sides of midnight") {
    const Signer signer(example, "auto");
    std::vector<SignedRequest> expected;
    for (int day = 0; day < 4; ++day)
        expected.push_back(Signer(example, "auto").sign(get("/k"), unsigned_payload, noon + day * 86'400));
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 500; ++i) {
                const int day = (i * (t + 1)) % 4;
                const SignedRequest found = signer.sign(get("/k"), unsigned_payload, noon + day * 86'400);
                wrong += found.signature != expected[static_cast<size_t>(day)].signature;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("what would break out of a header or a URL is refused") {
    const Signer signer(example, "auto");
    for (const std::string_view bad : {std::string_view("a\rb"), std::string_view("a\nb"),
                                       std::string_view("\n"), std::string_view("a\0b", 3)}) {
        S3Request request = get("/k");
        request.headers = {{"x-amz-meta-a", std::string(bad)}};
        CHECK(refusal([&] { signer.sign(request, unsigned_payload, noon); }) == ExitCode::input);
        CHECK(refusal([&] { signer.presign(request, noon, 60); }) == ExitCode::input);
        request.headers = {{std::string(bad), "value"}};
        CHECK(refusal([&] { signer.sign(request, unsigned_payload, noon); }) == ExitCode::input);
        CHECK(refusal([&] { signer.sign(get("/k"), bad, noon); }) == ExitCode::input);
        for (const S3Credentials& keys :
             {S3Credentials{std::string(bad), "s", ""}, S3Credentials{"id", "s", std::string(bad)}})
            CHECK(refusal([&] { Signer(keys, "auto"); }) == ExitCode::input);
        CHECK(refusal([&] { Signer(example, std::string(bad)); }) == ExitCode::input);
        request = get("/k");
        request.origin = "https://" + std::string(bad);
        CHECK(refusal([&] { request_url(request); }) == ExitCode::input);
    }
    for (const char* name : {"", "a b", "a:b", "Host", "authorization", "X-Amz-Date"}) {
        S3Request request = get("/k");
        request.headers = {{name, "value"}};
        CHECK(refusal([&] { signer.sign(request, unsigned_payload, noon); }) == ExitCode::input);
    }
    for (const char* origin :
         {"", "host", "ftp://host", "https://", "https://a@b", "https://a/b", "https://a?b"}) {
        S3Request request = get("/k");
        request.origin = origin;
        CHECK(refusal([&] { signer.sign(request, unsigned_payload, noon); }) == ExitCode::input);
    }
    CHECK(refusal([&] { request_url(get(".evil/k")); }) == ExitCode::input);
    CHECK(refusal([&] { Signer({}, "auto").sign(get("/k"), unsigned_payload, noon); }) == ExitCode::identity);
    CHECK(refusal([&] { Signer({}, "auto").presign(get("/k"), noon, 60); }) == ExitCode::identity);
    CHECK(refusal([&] { Signer({"id", "s", "t\xc2\xa0"}, "auto"); }) == ExitCode::input);
}

TEST_CASE("a presigned URL lives one second to seven days") {
    const Signer signer(example, "auto");
    for (const int64_t expires : {int64_t(-1), int64_t(0), int64_t(604'801), INT64_MAX, INT64_MIN})
        CHECK(refusal([&] { signer.presign(get("/k"), noon, expires); }) == ExitCode::usage);
    for (const int64_t expires : {1, 604'800}) {
        const std::string url = signer.presign(get("/k"), noon, expires).url;
        CHECK(url.find("&X-Amz-Expires=" + std::to_string(expires) + "&") != std::string::npos);
    }
}

TEST_CASE("keys are encoded once and never normalised") {
    const auto url = [](const std::string& path) { return request_url(get(path)); };
    CHECK(url("") == "https://host/");
    CHECK(url("/b/a=b+c%20d") == "https://host/b/a%3Db%2Bc%2520d");
    CHECK(url("/b//x//") == "https://host/b//x//");
    CHECK(url("/b/../x/./y/..") == "https://host/b/../x/./y/..");
    CHECK(url("/b/caf\u00e9 \xff") == "https://host/b/caf%C3%A9%20%FF");
    CHECK(uri_encode("a/b~c_d-e.f*", false) == "a%2Fb~c_d-e.f%2A");
    CHECK(uri_encode("a/b", true) == "a/b");
    CHECK(uri_encode(std::string_view("\0", 1), true) == "%00");

    S3Request request = get("/b/k");
    request.origin = "http://Host.Example:9000";
    request.query = {{"id-type", "a"}, {"id", "b"}, {"id", "a"}, {"uploads", std::nullopt}, {"x y", "+/"}};
    CHECK(request_url(request) == "http://host.example:9000/b/k?id=a&id=b&id-type=a&uploads=&x%20y=%2B%2F");
    const Signer signer(example, "auto");
    CHECK(signer.sign(request, unsigned_payload, noon).url == request_url(request));
    CHECK(signer.sign(get("/a//b"), unsigned_payload, noon).signature !=
          signer.sign(get("/a/b"), unsigned_payload, noon).signature);
}
