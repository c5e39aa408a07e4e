#include "net/bucket/bucket.h"

#include "base/file.h"
#include "tests/net/error_code.h"
#include "tests/net/s3_service.h"
#include "tests/net/scratch.h"

#include <doctest/doctest.h>

#include <sys/stat.h>

using namespace templar;

namespace {

// A key file, and buckets of a scripted service opened with it.
struct OpenedS3 {
    explicit OpenedS3(ScriptedS3::Answer answer) : service(std::move(answer)) {
        write_key_file(
            fmt::format("[default]\naws_access_key_id = id\naws_secret_access_key = secret\n"
                        "[there]\naws_access_key_id = id\naws_secret_access_key = secret\n"
                        "endpoint_url = {}\nregion = auto\n",
                        service.origin()));
    }
    void write_key_file(const std::string& text) {
        write_file(keys(), as_bytes(text));
        ::chmod(keys().c_str(), 0600);
    }
    std::filesystem::path keys() const { return folder / "keys"; }
    std::unique_ptr<Bucket> open(const std::string& what = "bucket/pre/fix", bool allow_http = true) const {
        return open_bucket("s3://" + what + "?endpoint=" + service.origin(),
                           {.credentials = keys(), .allow_http = allow_http});
    }
    Scratch folder;
    ScriptedS3 service;
};

std::string ok(const AskedOfS3&, size_t) {
    return s3_answer(200, "hello", "ETag: \"e\"\r\n");
}

std::string listed(const std::string& key) {
    return fmt::format(
        "<Contents><Key>{}</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified>"
        "<ETag>\"e\"</ETag><Size>1</Size></Contents>",
        key);
}

std::string initiated(const std::string& key, const std::string& id, const std::string& time) {
    return fmt::format("<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiated>{}</Initiated></Upload>", key,
                       id, time);
}

}  // namespace

TEST_CASE("s3 bucket: everything is below the prefix") {
    OpenedS3 s3(ok);
    const auto bucket = s3.open();
    CHECK(as_text(*bucket->get("a/b", 10)) == "hello");
    CHECK(bucket->head("a")->key == "a");
    CHECK(bucket->fetch("a", 5)->modified_ms == object_time_s * 1000);
    CHECK(as_text(bucket->get_many({"a", "b"}, 10)[1].object->bytes) == "hello");
    bucket->put("c", as_bytes("x"));
    CHECK(bucket->create("c", as_bytes("x")));
    bucket->remove("c");
    for (const AskedOfS3& asked : s3.service.asked()) CHECK(asked.target.starts_with("/bucket/pre/fix/"));
    CHECK(bucket->stats().class_a == 2);
    CHECK(bucket->stats().class_b == 5);
    CHECK(bucket->stats().deletes == 1);
}

TEST_CASE("s3 bucket: keys that are none of ours are refused, and passed over in lists") {
    OpenedS3 s3([](const AskedOfS3& asked, size_t) {
        CHECK(asked.asks("prefix=pre%2Ffix%2Fr"));
        const bool first = asked.asks("start-after=pre%2Ffix%2Fr0");
        std::string text;
        for (const char* key : {"r1", "r10/../x", "r11/.hidden", "r2", "r2 2", "r2//3"})
            if (first) text += listed(std::string("pre/fix/") + key);
        for (const char* key : {"r3", "r4"})
            if (!first) text += listed(std::string("pre/fix/") + key);
        return s3_answer(200,
                         "<ListBucketResult>" + text + "<IsTruncated>false</IsTruncated></ListBucketResult>");
    });
    const auto bucket = s3.open();
    const auto found = bucket->list("r", "r0", 6);
    std::string keys;
    for (const ObjectInfo& object : found) keys += object.key + " ";
    CHECK(keys == "r1 r2 r3 r4 ");  // six were asked for and six came: there may be more after them
    CHECK(s3.service.requests() == 2);
    for (const std::string& key : {std::string(), std::string("../a"), std::string("/a"), std::string("a b"),
                                   std::string("a/"), std::string(513, 'a')}) {
        CHECK(code_of([&] { bucket->get(key, 1); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->head(key); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->put(key, {}); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->create(key, {}); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->remove(key); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->fetch(key, 1); }) == ExitCode::input);
        CHECK(bucket->get_many({key}, 1)[0].error->code() == ExitCode::input);
    }
    CHECK(code_of([&] { bucket->list("../"); }) == ExitCode::input);
    CHECK(s3.service.requests() == 2);
}

TEST_CASE("s3 bucket: only uploads long abandoned, by the service's clock and below the prefix, are swept") {
    OpenedS3 s3([](const AskedOfS3& asked, size_t) {
        if (asked.method == "DELETE") return s3_answer(204);
        return s3_answer(200,
                         "<ListMultipartUploadsResult>" +
                             initiated("pre/fix/old", "u1", "2035-01-01T10:59:00.000Z") +
                             initiated("pre/fix/new", "u2", "2035-01-01T11:01:00.000Z") +
                             initiated("pre/fixed", "u3", "2035-01-01T00:00:00.000Z") +
                             "<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
                         "Date: Mon, 01 Jan 2035 12:00:00 GMT\r\n");
    });
    s3.open()->sweep_unfinished();
    const auto asked = s3.service.asked();
    REQUIRE(asked.size() == 2);
    CHECK(asked[0].asks("prefix=pre%2Ffix%2F"));
    CHECK(asked[1].method == "DELETE");
    CHECK(asked[1].target == "/bucket/pre/fix/old?uploadId=u1");
}

TEST_CASE("s3 bucket: its URL holds no profile and no secret, and opens it again") {
    OpenedS3 s3(ok);
    const auto bucket =
        open_bucket("s3://bucket/pre/fix?profile=there", {.credentials = s3.keys(), .allow_http = true});
    CHECK(bucket->url() == "s3://bucket/pre/fix?endpoint=" + s3.service.origin() + "&region=auto");
    CHECK(bucket->get("key", 10));
    const auto again = open_peer_bucket(bucket->url(), {}, {.allow_http = true, .allow_private = true});
    CHECK(again->url() == bucket->url());
    CHECK(again->get("key", 10));
    CHECK(s3.service.asked()[0].header("authorization").find("/auto/s3/") != std::string::npos);
    CHECK(s3.service.asked()[1].header("authorization").empty());
}

TEST_CASE("s3 bucket: what cannot be opened says what to do") {
    OpenedS3 s3(ok);
    CHECK(code_of([&] { s3.open("bucket", false); }, "--allow-http") == ExitCode::usage);
    CHECK(code_of([&] { s3.open("b"); }) == ExitCode::usage);
    CHECK(code_of([&] { open_bucket("s3://bucket", {.credentials = s3.keys()}); }, "endpoint") ==
          ExitCode::usage);
    CHECK(code_of(
              [&] {
                  open_bucket("s3://bucket?endpoint=https://x.example&profile=other",
                              {.credentials = s3.keys()});
              },
              "other") == ExitCode::identity);
    CHECK(code_of([&] {
              open_bucket("s3://bucket?endpoint=https://x.example", {.credentials = s3.folder / "none"});
          }) == ExitCode::identity);
    ::chmod(s3.keys().c_str(), 0644);
    CHECK(code_of([&] { s3.open(); }, "chmod") == ExitCode::identity);
    CHECK(s3.service.requests() == 0);
}
