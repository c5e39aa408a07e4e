// Every case of every sigv4*.json: AWS's own signing suite, the S3 documentation's examples, requests signed
// by botocore.
#include "base/error.h"
#include "net/s3/sign.h"
#include "tests/vectors/vectors.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
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
