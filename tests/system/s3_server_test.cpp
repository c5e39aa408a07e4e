// The server that judges the client is judged first, with plain sockets: what it stores, serves and counts.
#include "tests/system/s3_plain_client.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <atomic>
#include <ctime>
#include <memory>
#include <thread>

using namespace templar;
using namespace templar::s3test;

TEST_CASE("objects: written, read whole and in ranges, conditionally, removed") {
    const Fixture service;
    const Answer put = service({.method = "PUT", .body = "0123456789"});
    CHECK(put.status == 200);
    CHECK(put.header("ETag") == "\"781e5e245d69b566979b86e28d23f2c7\"");
    const Answer whole = service({});
    CHECK(whole.status == 200);
    CHECK(whole.body == "0123456789");
    CHECK(whole.header("ETag") == put.header("ETag"));
    CHECK(!whole.header("Last-Modified").empty());
    const Answer head = service({.method = "HEAD"});
    CHECK(head.status == 200);
    CHECK(head.header("Content-Length") == "10");

    const auto ranged = [&](const char* range) { return service({.headers = {{"range", range}}}); };
    CHECK(ranged("bytes=2-4").body == "234");
    CHECK(ranged("bytes=2-4").status == 206);
    CHECK(ranged("bytes=2-4").header("Content-Range") == "bytes 2-4/10");
    CHECK(ranged("bytes=8-").body == "89");
    CHECK(ranged("bytes=8-99").header("Content-Range") == "bytes 8-9/10");
    CHECK(ranged("bytes=-3").body == "789");
    CHECK(ranged("bytes=10-").status == 416);
    CHECK(ranged("bytes=10-").header("Content-Range") == "bytes */10");

    CHECK(service({.headers = {{"if-match", put.header("ETag")}}}).status == 200);
    CHECK(service({.headers = {{"if-match", "\"other\""}}}).status == 412);
    CHECK(service({.headers = {{"if-none-match", put.header("ETag")}}}).status == 304);
    CHECK(service({.target = "/bucket/none"}).code() == "NoSuchKey");
    CHECK(service({.target = "/nobucket/none"}).code() == "NoSuchBucket");

    CHECK(service({.method = "PUT", .body = "second", .headers = {{"if-none-match", "*"}}}).status == 412);
    CHECK(service.stored("key") == "0123456789");
    CHECK(service({.method = "DELETE"}).status == 204);
    CHECK(service({.method = "DELETE"}).status == 204);
    CHECK(service({.method = "PUT", .body = "second", .headers = {{"if-none-match", "*"}}}).status == 200);
    CHECK(service.stored("key") == "second");
}

TEST_CASE("keys are the bytes that were sent: nothing is normalised") {
    const Fixture service;
    for (const char* target :
         {"/bucket/a//b", "/bucket/a/../b", "/bucket/a%20b%2Bc%3D%25%C3%A9", "/bucket/x+y"}) {
        CHECK(service({.method = "PUT", .target = target, .body = target}).status == 200);
        CHECK(service({.target = target}).body == target);
    }
    CHECK(service.stored("a//b") == "/bucket/a//b");
    CHECK(service.stored("a/../b") == "/bucket/a/../b");
    CHECK(service.stored("a b+c=%\xC3\xA9") == "/bucket/a%20b%2Bc%3D%25%C3%A9");
    CHECK(service.stored("x+y") == "/bucket/x+y");
}

TEST_CASE("lists: prefix, start-after, pages, encoded names") {
    Fixture service;
    for (const char* key : {"a/1", "a/2", "a/3 &<", "b/1"}) service.server.store("bucket", key, Bytes(3));
    const Answer all = service({.target = "/bucket?list-type=2&prefix=a%2F"});
    CHECK(all.body.find("<KeyCount>3</KeyCount>") != std::string::npos);
    CHECK(all.body.find("<Key>a/3 &amp;&lt;</Key>") != std::string::npos);
    CHECK(all.body.find("b/1") == std::string::npos);
    const Answer first = service({.target = "/bucket?list-type=2&max-keys=2&encoding-type=url"});
    CHECK(first.body.find("<IsTruncated>true</IsTruncated>") != std::string::npos);
    const size_t at = first.body.find("<NextContinuationToken>") + 23;
    const std::string token = first.body.substr(at, first.body.find("</Next") - at);
    const Answer second = service({.target = "/bucket?continuation-token=" + percent_encoded(token, false) +
                                             "&encoding-type=url&list-type=2"});
    CHECK(second.body.find("<KeyCount>2</KeyCount>") != std::string::npos);
    CHECK(second.body.find("<Key>a/3%20%26%3C</Key>") != std::string::npos);
    CHECK(second.body.find("<IsTruncated>false</IsTruncated>") != std::string::npos);
    const Answer after = service({.target = "/bucket?list-type=2&start-after=a%2F2&prefix=a"});
    CHECK(after.body.find("<KeyCount>1</KeyCount>") != std::string::npos);
}

TEST_CASE("multipart: R2's rules are judged when it is completed") {
    const Fixture service;
    SUBCASE("equal parts make an object") {
        const std::string id = service.begin_upload("key");
        CHECK(service.server.uploads_open("bucket") == 1);
        std::string parts;
        for (int i = 1; i <= 3; ++i)
            parts += service.part("key", id, i, std::string(i < 3 ? 4 : 2, static_cast<char>('a' + i)));
        const Answer listed = service({.target = "/bucket/key?max-parts=2&uploadId=" + id});
        CHECK(listed.body.find("<NextPartNumberMarker>2</NextPartNumberMarker>") != std::string::npos);
        CHECK(service({.target = "/bucket?uploads"}).body.find("<Key>key</Key>") != std::string::npos);
        CHECK(service.stored("key") == "(none)");
        const Answer done = service.complete("key", id, parts);
        CHECK(done.status == 200);
        CHECK(done.body.find("-3&quot;</ETag>") != std::string::npos);
        CHECK(service.stored("key") == "bbbbccccdd");
        CHECK(service.complete("key", id, parts).code() == "NoSuchUpload");
    }
    SUBCASE("what makes no object") {
        const std::string id = service.begin_upload("key");
        const std::string a = service.part("key", id, 1, "aaaa"), b = service.part("key", id, 2, "bbbbb"),
                          c = service.part("key", id, 3, "c"), d = service.part("key", id, 4, "dddd");
        CHECK(service.complete("key", id, a + b).code() == "InvalidPart");      // the last is longer
        CHECK(service.complete("key", id, a + b + d).code() == "InvalidPart");  // unequal
        CHECK(service.complete("key", id, c + d).code() == "EntityTooSmall");
        CHECK(service.complete("key", id, d + a).code() == "InvalidPartOrder");
        CHECK(service.complete("key", id, "").code() == "MalformedXML");
        const std::string wrong = "<Part><PartNumber>1</PartNumber><ETag>0</ETag></Part>";
        CHECK(service.complete("key", id, wrong).code() == "InvalidPart");
        CHECK(service.complete("other", id, a).code() == "NoSuchUpload");
        CHECK(service({.method = "DELETE", .target = "/bucket/key?uploadId=" + id}).status == 204);
        CHECK(service.complete("key", id, a).code() == "NoSuchUpload");
    }
    SUBCASE("a failed condition destroys the upload") {
        CHECK(service({.method = "PUT", .body = "first"}).status == 200);
        const std::string id = service.begin_upload("key");
        const std::string parts = service.part("key", id, 1, "aaaa");
        CHECK(service.complete("key", id, parts, {{"if-none-match", "*"}}).status == 412);
        CHECK(service.server.uploads_open("bucket") == 0);
        CHECK(service.stored("key") == "first");
    }
}

TEST_CASE("quirks: one write a second and key; when a multipart object says it was made") {
    Fixture service({.min_part_bytes = 1, .one_write_per_second = true, .modified_at_start = true});
    CHECK(service({.method = "PUT", .body = "1"}).status == 200);
    const Answer again = service({.method = "PUT", .body = "2"});
    CHECK(again.status == 429);
    CHECK(again.code() == "TooManyRequests");
    CHECK(service({.method = "PUT", .target = "/bucket/other", .body = "2"}).status == 200);
    service.server.set_clock_offset(2);
    CHECK(service({.method = "PUT", .body = "2"}).status == 200);
    const std::string id = service.begin_upload("late");
    const std::string parts = service.part("late", id, 1, "x");
    service.server.set_clock_offset(100);
    CHECK(service.complete("late", id, parts).status == 200);
    CHECK(service.server.find("bucket", "late")->modified_ms < (std::time(nullptr) + 50) * 1000);
    service.server.set_modified("bucket", "late", 784111777000);
    CHECK(service({.target = "/bucket/late"}).header("Last-Modified") == "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_CASE("connections are kept, many at a time, and counted") {
    Fixture service;
    service.server.store("bucket", "key", Bytes(1000, 'x'));
    Plain plain(service.server.port());
    plain.send(signed_request(service.server, {}) + signed_request(service.server, {}));  // pipelined
    CHECK(plain.answer().body.size() == 1000);
    CHECK(plain.answer().body.size() == 1000);
    CHECK(service.server.counters().connections == 1);
    CHECK(service.server.counters().of(Operation::get) == 2);
    CHECK(service.server.counters().bytes_out == 2000);

    const std::string request = signed_request(service.server, {});
    std::atomic<int> served{0};
    {
        std::vector<std::unique_ptr<Plain>> clients;
        for (int i = 0; i < 300; ++i) clients.push_back(std::make_unique<Plain>(service.server.port()));
        for (auto& client : clients) client->send(request);
        for (auto& client : clients) served += client->answer().body.size() == 1000;
    }
    CHECK(served == 300);
    CHECK(service.server.counters().most_connections == 301);

    std::atomic<int> winners{0};
    std::vector<std::thread> racers;
    for (int i = 0; i < 8; ++i)
        racers.emplace_back([&, i] {
            Plain racer(service.server.port());
            racer.send(signed_request(service.server, {.method = "PUT",
                                                       .target = "/bucket/race",
                                                       .body = std::to_string(i),
                                                       .headers = {{"if-none-match", "*"}}}));
            winners += racer.answer().status == 200;
        });
    for (std::thread& racer : racers) racer.join();
    CHECK(winners == 1);
    CHECK(service.server.find("bucket", "race")->times_stored == 1);
}
