// Every shape of request that the signer can make, judged by a verifier that is not ours.
#include "base/sha256.h"
#include "tests/radosgw/server.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

using namespace templar;

namespace {

const std::string hello = "hello";
const std::string hello_etag = "\"5d41402abc4b2a76b9719d911017c592\"";
const std::string hello_md5 = "XUFAKrxLKna5cZ2REBfFkg==";
const std::string wrong_md5 = "AAAAAAAAAAAAAAAAAAAAAA==";

S3Profile owner() {
    return LocalServer::instance().profile("first");
}

std::string hash_of(const std::string& body) {
    return to_hex(sha256(as_bytes(body)));
}

const std::vector<std::string> odd_keys = {
    "plain",
    "a/b/c",
    "equals=sign",
    "plus+sign",
    "percent%41",
    "percentA",
    "percent%",
    "percent%zz",
    "blank in it",
    "blank at end ",
    "two  blanks",
    "tab\tin it",
    "slash//slash",
    "slash/slash",
    "slash/",
    "dots/../up",
    "dots/up",
    "dot/./here",
    "dot/here",
    "..",
    "tilde~",
    "marks!*'()",
    "question?mark=1",
    "hash#mark",
    "and&and",
    "colon:semicolon;comma,",
    "at@dollar$",
    "quote\"less<more>",
    "back\\slash|bar^{}[]`",
    "grüße",
    "日本語/キー",
    "\xf0\x9f\x94\x91",
    "A",
    "a",
    "0123456789ABCDEF0123456789abcdef",
};

TEST_CASE("keys of every spelling stay apart") {
    const S3Profile profile = owner();
    std::vector<std::string> keys = odd_keys;
    keys.push_back(std::string(1024 - 5, 'k'));
    for (std::string& key : keys) key.insert(0, "odd: ");
    const auto request = [&](const std::string& method, const std::string& key) {
        return request_of(profile, method, "/first/" + key);
    };
    for (const std::string& key : keys) {
        CAPTURE(key);
        CHECK(ask(profile, request("PUT", key), key).status == 200);
    }
    for (const std::string& key : keys) {
        CAPTURE(key);
        CHECK(ask(profile, request("HEAD", key)).status == 200);
        const HttpResponse got = ask(profile, request("GET", key));
        CHECK(got.status == 200);
        CHECK(got.body == key);
        S3Request list = request_of(profile, "GET", "/first");
        list.query = {{"list-type", "2"}, {"prefix", key}, {"max-keys", "1"}, {"encoding-type", "url"}};
        const HttpResponse listed = ask(profile, list);
        CHECK(listed.status == 200);
        CHECK(listed.body.find("<KeyCount>1<") != std::string::npos);
        CHECK(ask(profile, request("DELETE", key)).status == 204);
        CHECK(ask(profile, request("GET", key)).status == 404);
    }
    CHECK(ask(profile, request("PUT", std::string(1025, 'k'))).status == 400);
}

struct Shape {
    std::string name;
    int status;
    std::string method = "GET";
    std::string key = "hello";  // after "/first"; with a '/' before it unless it is empty
    decltype(S3Request::query) query = {};
    HttpHeaders headers = {};
    std::string body = "";
    std::string payload = "";  // instead of the body's hash
    std::string answer = "";   // is in the answer's body
};

const std::vector<Shape> shapes = {
    // Queries
    {"list, version 1", 200, "GET", "", {}, {}, "", "", "<Key>hello</Key>"},
    {"list, version 2", 200, "GET", "", {{"list-type", "2"}}, {}, "", "", "<Key>hello</Key>"},
    {"a path that ends in a slash", 200, "GET", "/", {{"list-type", "2"}}, {}, "", "", "<Key>hello</Key>"},
    {"prefix", 200, "GET", "", {{"list-type", "2"}, {"prefix", "in/a"}}, {}, "", "", "<KeyCount>2<"},
    {"prefix, delimiter",
     200,
     "GET",
     "",
     {{"prefix", ""}, {"list-type", "2"}, {"delimiter", "/"}},
     {},
     "",
     "",
     "<CommonPrefixes><Prefix>in/</Prefix>"},
    {"delimiter of several bytes", 200, "GET", "", {{"delimiter", "a/1 +&="}, {"list-type", "2"}}},
    {"start-after",
     200,
     "GET",
     "",
     {{"start-after", "in/a"}, {"prefix", "in/"}, {"list-type", "2"}},
     {},
     "",
     "",
     "<KeyCount>2<"},
    {"max-keys",
     200,
     "GET",
     "",
     {{"max-keys", "2"}, {"list-type", "2"}},
     {},
     "",
     "",
     "<IsTruncated>true</IsTruncated>"},
    {"encoding-type",
     200,
     "GET",
     "",
     {{"encoding-type", "url"}, {"prefix", "in/a "}, {"list-type", "2"}},
     {},
     "",
     "",
     "a%20b"},
    {"names in reverse order",
     200,
     "GET",
     "",
     {{"start-after", "hello"},
      {"prefix", "in/"},
      {"max-keys", "5"},
      {"list-type", "2"},
      {"delimiter", "/"}}},
    {"odd values",
     200,
     "GET",
     "",
     {{"list-type", "2"}, {"prefix", "ü=+&%41 ~*'()/"}},
     {},
     "",
     "",
     "<KeyCount>0<"},
    {"a name without '='",
     200,
     "GET",
     "",
     {{"uploads", std::nullopt}},
     {},
     "",
     "",
     "ListMultipartUploadsResult"},
    {"an empty value", 200, "GET", "", {{"uploads", ""}}, {}, "", "", "ListMultipartUploadsResult"},
    {"uploads and prefix", 200, "GET", "", {{"uploads", std::nullopt}, {"prefix", "in/"}}},
    {"an unknown name", 200, "GET", "hello", {{"x-id", "GetObject"}}, {}, "", "", hello},
    {"id before id-type", 200, "GET", "hello", {{"id-type", "1"}, {"id", "2"}}, {}, "", "", hello},
    {"no such upload", 404, "GET", "hello", {{"uploadId", "2~none"}}},
    {"a part of no upload",
     404,
     "PUT",
     "hello",
     {{"partNumber", "1"}, {"uploadId", "2~none"}},
     {},
     hello,
     "",
     "NoSuchUpload"},
    // Headers
    {"metadata a and a-b", 200, "PUT", "meta", {}, {{"x-amz-meta-a-b", "1"}, {"x-amz-meta-a", "2"}}, hello},
    {"an empty value", 200, "PUT", "meta", {}, {{"x-amz-meta-empty", ""}}, hello},
    {"inner blanks", 200, "PUT", "meta", {}, {{"x-amz-meta-blanks", "a   b  c"}}, hello},
    {"outer blanks", 200, "PUT", "meta", {}, {{"x-amz-meta-blanks", "  a b  "}}, hello},
    {"upper case", 200, "PUT", "meta", {}, {{"X-AMZ-META-Upper", "Value"}}, hello},
    {"a name twice", 200, "PUT", "meta", {}, {{"x-amz-meta-twice", "b"}, {"x-amz-meta-twice", "a"}}, hello},
    {"UTF-8 in a value", 200, "PUT", "meta", {}, {{"x-amz-meta-name", "Grüße"}}, hello},
    {"content type", 200, "PUT", "meta", {}, {{"Content-Type", "application/x-templar; v=1"}}, hello},
    {"right MD5", 200, "PUT", "meta", {}, {{"Content-MD5", hello_md5}}, hello},
    {"wrong MD5", 400, "PUT", "meta", {}, {{"Content-MD5", wrong_md5}}, hello, "", "BadDigest"},
    {"user agent, not signed", 200, "GET", "hello", {}, {{"User-Agent", "templar"}}},
    {"range", 206, "GET", "hello", {}, {{"Range", "bytes=1-3"}}, "", "", "ell"},
    {"range to beyond the end", 206, "GET", "hello", {}, {{"Range", "bytes=3-99"}}, "", "", "lo"},
    {"range beyond the end", 416, "GET", "hello", {}, {{"Range", "bytes=5-9"}}, "", "", "InvalidRange"},
    {"if-match", 200, "GET", "hello", {}, {{"If-Match", hello_etag}}, "", "", hello},
    {"if-match and range", 206, "GET", "hello", {}, {{"If-Match", hello_etag}, {"Range", "bytes=0-1"}}},
    {"if-match of another", 412, "GET", "hello", {}, {{"If-Match", "\"00000000000000000000000000000000\""}}},
    {"if-none-match", 304, "GET", "hello", {}, {{"If-None-Match", hello_etag}}},
    {"HEAD, if-none-match of another", 200, "HEAD", "hello", {}, {{"If-None-Match", "\"0\""}}},
    {"create what exists", 412, "PUT", "hello", {}, {{"If-None-Match", "*"}}, hello},
    // Payloads
    {"empty", 200, "PUT", "payload", {}, {}, ""},
    {"with zeros", 200, "PUT", "payload", {}, {}, std::string("\0\r\n\0", 4)},
    {"a megabyte", 200, "PUT", "payload", {}, {}, std::string(1 << 20, 'm')},
    {"unsigned", 200, "PUT", "payload", {}, {}, hello, std::string(unsigned_payload)},
    {"unsigned GET", 200, "GET", "hello", {}, {}, "", std::string(unsigned_payload), hello},
    {"another's hash", 400, "PUT", "payload", {}, {}, hello, hash_of("hallo"), "XAmzContentSHA256Mismatch"},
    {"no hash", 400, "PUT", "payload", {}, {}, hello, "none"},
    // Paths
    {"no such key", 404, "GET", "nothing", {}, {}, "", "", "NoSuchKey"},
    {"HEAD of no such key", 404, "HEAD", "nothing"},
    {"DELETE of no such key", 204, "DELETE", "nothing"},
    {"another's bucket", 403, "GET", "/../../second", {{"list-type", "2"}}},
};

void prepare(const S3Profile& profile) {
    for (const char* key : {"hello", "in/a", "in/a b", "in/b", "meta", "payload"})
        REQUIRE(ask(profile, request_of(profile, "PUT", std::string("/first/") + key), hello).status == 200);
}

S3Request request_of(const S3Profile& profile, const Shape& shape) {
    std::string path = "/first";
    if (shape.key == "/../../second")
        path = "/second";
    else if (!shape.key.empty())
        path += shape.key == "/" ? "/" : "/" + shape.key;
    S3Request request = request_of(profile, shape.method, path);
    request.query = shape.query;
    request.headers = shape.headers;
    return request;
}

TEST_CASE("queries, headers and payloads of every shape") {
    const S3Profile profile = owner();
    const Signer signer(profile.credentials, profile.region);
    prepare(profile);
    for (const Shape& shape : shapes) {
        CAPTURE(shape.name);
        const std::string payload = shape.payload.empty() ? hash_of(shape.body) : shape.payload;
        const SignedRequest request = signer.sign(request_of(profile, shape), payload, now_s());
        const HttpResponse response = send(shape.method, request, shape.body);
        CAPTURE(response.body.substr(0, 400));
        CHECK(response.status == shape.status);
        CHECK(response.body.find(shape.answer) != std::string::npos);
    }
}

TEST_CASE("the same shapes in presigned URLs") {
    const S3Profile profile = owner();
    const Signer signer(profile.credentials, profile.region);
    prepare(profile);
    for (const Shape& shape : shapes) {
        if (!shape.payload.empty()) continue;
        CAPTURE(shape.name);
        const SignedRequest request = signer.presign(request_of(profile, shape), now_s(), 60);
        const HttpResponse response = send(shape.method, request, shape.body);
        CAPTURE(response.body.substr(0, 400));
        CHECK(response.status == shape.status);
        CHECK(response.body.find(shape.answer) != std::string::npos);
    }
}

TEST_CASE("what was put with headers is got with them") {
    const S3Profile profile = owner();
    S3Request put = request_of(profile, "PUT", "/first/with-headers");
    put.headers = {{"Content-Type", "application/x-templar"},
                   {"x-amz-meta-blanks", "a   b"},
                   {"x-amz-meta-twice", "b"},
                   {"x-amz-meta-twice", "a"}};
    CHECK(ask(profile, put, hello).status == 200);
    const HttpResponse got = ask(profile, request_of(profile, "HEAD", "/first/with-headers"));
    CHECK(got.status == 200);
    CHECK(got.body.empty());
    CHECK(got.header("content-length") == "5");
    CHECK(got.header("content-type") == "application/x-templar");
    CHECK(got.header("x-amz-meta-blanks") == "a b");
    CHECK(got.header("x-amz-meta-twice") == "b,a");
    CHECK(got.header("etag") == hello_etag);
}

TEST_CASE("an upload in parts, request by request") {
    const S3Profile profile = owner();
    const auto request = [&](const std::string& method, decltype(S3Request::query) query) {
        S3Request made = request_of(profile, method, "/first/in parts+=");
        made.query = std::move(query);
        return made;
    };
    const auto begin = [&] {
        const HttpResponse begun = ask(profile, request("POST", {{"uploads", std::nullopt}}));
        REQUIRE(begun.status == 200);
        const size_t from = begun.body.find("<UploadId>") + 10;
        return begun.body.substr(from, begun.body.find("</UploadId>") - from);
    };
    const std::string id = begin(), first_part(5 << 20, 'p');
    std::vector<std::string> etags;
    for (const std::string& part : {first_part, hello}) {
        const std::string number = std::to_string(etags.size() + 1);
        const HttpResponse put =
            ask(profile, request("PUT", {{"uploadId", id}, {"partNumber", number}}), part);
        REQUIRE(put.status == 200);
        etags.push_back(std::string(put.header("etag")));
    }
    const HttpResponse parts = ask(profile, request("GET", {{"uploadId", id}, {"max-parts", "10"}}));
    CHECK(parts.status == 200);
    CHECK(parts.body.find("<PartNumber>2</PartNumber>") != std::string::npos);
    CHECK(ask(profile, request("GET", {})).status == 404);
    const std::string complete = fmt::format(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>"
        "<Part><PartNumber>2</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        etags[0], etags[1]);
    CHECK(ask(profile, request("POST", {{"uploadId", id}}), complete).status == 200);
    CHECK(ask(profile, request("HEAD", {})).header("content-length") ==
          std::to_string(first_part.size() + hello.size()));

    const std::string given_up = begin();
    CHECK(ask(profile, request("DELETE", {{"uploadId", given_up}})).status == 204);
    CHECK(ask(profile, request("DELETE", {{"uploadId", given_up}})).status == 404);
}

}  // namespace
