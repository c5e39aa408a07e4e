// Whom the server lets do what: by the published signatures, and by everything that may be wrong with one.
#include "tests/system/s3_plain_client.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace templar;
using namespace templar::s3test;

namespace {

nlohmann::json signature_vectors() {
    const char* chosen = std::getenv("VECTORS_DIR");
    const std::filesystem::path folder = chosen && *chosen
                                             ? std::filesystem::path(chosen)
                                             : std::filesystem::path(TEMPLAR_SOURCE_DIR) / "tests/vectors";
    std::ifstream stream(folder / "sigv4.json");
    return stream ? nlohmann::json::parse(stream).at("cases") : nlohmann::json::array();
}

// What a client that follows the vector would put on the wire.
std::string request_of(const nlohmann::json& vector) {
    const nlohmann::json& expected = vector.at("expected");
    std::string url = expected.at("url");
    url.erase(0, url.find('/', url.find("://") + 3));
    std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", vector.at("method").get<std::string>(),
                                   url, expected.at("host").get<std::string>());
    for (const auto& header : vector.at("headers"))
        head += fmt::format("{}: {}\r\n", header[0].get<std::string>(), header[1].get<std::string>());
    for (const auto& [name, value] : expected.at("headers").items())
        head += fmt::format("{}: {}\r\n", name, value.get<std::string>());
    return head + "\r\n";
}

}  // namespace

TEST_CASE("the server's reading of a request agrees with every published S3 signature") {
    const nlohmann::json cases = signature_vectors();
    if (cases.empty()) MESSAGE("skipped: no sigv4.json");
    int judged = 0;
    for (const nlohmann::json& vector : cases) {
        if (vector.at("service") != "s3" || vector.at("rule") != "equal") continue;
        INFO(vector.at("id").get<std::string>());
        std::optional<Request> request = parse_request_head(request_of(vector));
        REQUIRE(request);
        std::optional<Refusal> refusal;
        const std::optional<Claim> claim = read_claim(*request, refusal);
        REQUIRE(claim);
        CHECK(!refusal);
        CHECK(canonical_request(*request, *claim) == vector.at("expected").at("canonical_request"));
        const nlohmann::json& credentials = vector.at("credentials");
        Key key{credentials.at("access_key"), credentials.at("secret_key")};
        if (credentials.at("session_token").is_string()) key.session_token = credentials.at("session_token");
        const std::string hex = vector.at("body_hex");
        const Bytes once = from_hex(hex, hex.size() / 2, "body_hex");
        for (int64_t i = 0; i < vector.value("body_repeat", int64_t{1}); ++i)
            request->body.insert(request->body.end(), once.begin(), once.end());
        const Key* signer = nullptr;
        Judge rules{{key}, vector.at("region"), "s3", vector.at("unix_time")};
        refusal = judge(*request, rules, signer);
        INFO((refusal ? refusal->code + ": " + refusal->message : "accepted"));
        // The vectors' Content-MD5 is made up, and judged last.
        CHECK((!refusal || (refusal->code == "BadDigest" && request->has("content-md5"))));
        rules.keys[0].secret += "x";
        CHECK(judge(*request, rules, signer)->code == "SignatureDoesNotMatch");
        ++judged;
    }
    CHECK((cases.empty() || judged >= 40));
}

TEST_CASE("who may do what: keys, signatures, clocks, bodies") {
    Fixture service;
    service.server.add_key({"TEMPKEY", "temp-secret", "the token"});
    service.server.add_bucket("open", true);
    service.server.store("bucket", "key", Bytes(1));
    service.server.store("open", "key", Bytes(1));

    CHECK(service({.key = reader}).status == 200);
    CHECK(service({.method = "HEAD", .key = reader}).status == 200);
    CHECK(service({.target = "/bucket?list-type=2", .key = reader}).status == 200);
    CHECK(service({.method = "PUT", .body = "x", .key = reader}).code() == "AccessDenied");
    CHECK(service({.method = "DELETE", .key = reader}).code() == "AccessDenied");
    CHECK(service({.method = "POST", .target = "/bucket/key?uploads", .key = reader}).code() ==
          "AccessDenied");

    CHECK(service({.key = {"NOBODY", "x"}}).code() == "InvalidAccessKeyId");
    CHECK(service({.key = {full.id, "wrong"}}).code() == "SignatureDoesNotMatch");
    CHECK(service({.key = {"TEMPKEY", "temp-secret", "the token"}}).status == 200);
    CHECK(service({.key = {"TEMPKEY", "temp-secret", "another"}}).code() == "InvalidToken");
    CHECK(service({.key = {"TEMPKEY", "temp-secret"}}).code() == "InvalidToken");

    CHECK(service({.clock_s = -14 * 60}).status == 200);
    CHECK(service({.clock_s = -16 * 60}).code() == "RequestTimeTooSkewed");
    CHECK(service({.clock_s = 16 * 60}).code() == "RequestTimeTooSkewed");
    service.server.set_clock_offset(16 * 60);
    CHECK(service({.clock_s = 16 * 60}).status == 200);
    service.server.set_clock_offset(0);

    CHECK(service({.method = "PUT", .body = "x", .payload = "UNSIGNED-PAYLOAD"}).status == 200);
    CHECK(service({.method = "PUT", .body = "x", .payload = to_hex(sha256(as_bytes("y")))}).code() ==
          "XAmzContentSHA256Mismatch");
    const Answer streaming =
        service({.method = "PUT", .body = "x", .payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"});
    CHECK(streaming.status == 501);
    CHECK(streaming.code() == "NotImplemented");
    CHECK(streaming.header("cf-ray").size() > 8);
    CHECK(streaming.body.find("xmlns") == std::string::npos);
    CHECK(service({.method = "PUT", .body = "x", .with_length = false}).status == 411);
    CHECK(
        service({.method = "PUT", .body = "hello", .headers = {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg=="}}})
            .status == 200);
    CHECK(
        service({.method = "PUT", .body = "hullo", .headers = {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg=="}}})
            .code() == "BadDigest");

    std::string tampered = signed_request(service.server, {.headers = {{"range", "bytes=0-0"}}});
    tampered.replace(tampered.find("bytes=0-0"), 9, "bytes=0-9");
    Plain plain(service.server.port());
    plain.send(tampered);
    CHECK(plain.answer().code() == "SignatureDoesNotMatch");
    std::string smuggled = signed_request(service.server, {});
    smuggled.insert(smuggled.find("x-amz-date"), "x-amz-acl: public-read\r\n");
    plain.send(smuggled);
    CHECK(plain.answer().code() == "AccessDenied");
    plain.send("GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(plain.answer().code() == "AccessDenied");
    plain.send("GET /open/key HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(plain.answer().status == 200);
    plain.send("DELETE /open/key HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(plain.answer().code() == "AccessDenied");
    CHECK(service.server.counters().connections > 20);

    const Fixture elsewhere({.region = "auto"});
    CHECK(elsewhere({.method = "PUT", .body = "x"}).status == 200);
    CHECK(elsewhere({.region = "eu-west-1"}).code() == "AuthorizationHeaderMalformed");
}
