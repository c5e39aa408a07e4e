// Objects on their way there: whole, in parts, and what may happen to them.
#include "base/sha256.h"
#include "tests/net/error_code.h"
#include "tests/net/memory_s3.h"

#include <utility>

using namespace templar;

namespace {

const std::string path = "/bucket/key";

}  // namespace

TEST_CASE("s3 put: Content-MD5 always, a signed hash of what is short") {
    MemoryS3 s3;
    S3Client client = s3.service.client({});
    client.put("key", as_bytes("hello"));
    CHECK(s3.objects[path] == "hello");
    const AskedOfS3 small = s3.service.asked().back();
    CHECK(small.header("content-md5") == "XUFAKrxLKna5cZ2REBfFkg==");
    CHECK(small.header("x-amz-content-sha256") == to_hex(sha256(as_bytes("hello"))));
    CHECK(small.header("authorization").find("content-md5;host;") != std::string::npos);
    client.put("key", as_bytes(std::string((1 << 20) + 1, 'x')));
    CHECK(s3.service.asked().back().header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD");
    CHECK(s3.service.asked().back().header("content-md5").size() == 24);
    CHECK(client.stats().class_a == 2);
    CHECK(client.stats().bytes_up == 5 + (1 << 20) + 1);
    client.remove("key");
    CHECK(s3.objects.empty());
    CHECK(client.stats().deletes == 1);
}

TEST_CASE("s3 put: an ETag that is another object's is an error, one that is no MD5 is none") {
    MemoryS3 s3;
    std::string headers = "ETag: \"00000000000000000000000000000000\"\r\n";
    s3.instead = [&](const AskedOfS3&, size_t) { return s3_answer(200, "", headers); };
    S3Client client = s3.service.client();
    CHECK(code_of([&] { client.put("key", as_bytes("x")); }, "ETag") == ExitCode::storage);
    CHECK(s3.service.requests() == 3);
    headers += "x-amz-server-side-encryption: aws:kms\r\n";
    client.put("key", as_bytes("x"));
    headers = "ETag: \"abc-1\"\r\n";
    client.put("key", as_bytes("x"));
    headers = "";  // who stores something says so
    CHECK(code_of([&] { client.put("key", as_bytes("x")); }, "without an ETag") == ExitCode::storage);
    CHECK(s3.service.requests() == 8);
}

TEST_CASE("s3 create: true only for who created it") {
    MemoryS3 s3;
    S3Client client = s3.service.client();
    CHECK(client.create("key", as_bytes("mine")));
    CHECK_FALSE(client.create("key", as_bytes("mine")));
    CHECK_FALSE(client.create("key", as_bytes("theirs")));
    CHECK(s3.objects[path] == "mine");
    CHECK(s3.service.requests() == 3);  // no answer was lost: nothing to compare
    CHECK(s3.service.asked()[0].header("if-none-match") == "*");
}

TEST_CASE("s3 create: a lost answer is no lost object") {
    for (const bool by_status : {false, true})
        for (const char* meanwhile : {"", "mine", "them", "longer"}) {
            CAPTURE(meanwhile);
            MemoryS3 s3;
            s3.instead = [&](const AskedOfS3& asked, size_t before) -> std::string {
                if (asked.method != "PUT" || before > 0) return "";
                if (*meanwhile) s3.objects[path] = meanwhile;
                if (by_status && !*meanwhile) s3.objects[path] = asked.body;
                return by_status ? s3_error(500, "InternalError") : "-";
            };
            S3Client client = s3.service.client();
            const bool ours = !*meanwhile || std::string(meanwhile) == "mine";
            CHECK(client.create("key", as_bytes("mine")) == ours);
            CHECK(s3.objects[path] == (*meanwhile ? meanwhile : "mine"));
        }
}

TEST_CASE("s3 create: a kept connection that ends without an answer has perhaps carried the object") {
    MemoryS3 s3;
    bool lost = false;
    s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
        return asked.method == "PUT" && !std::exchange(lost, true) ? "-" : "";
    };
    S3Client client = s3.service.client();
    CHECK_FALSE(client.head("key"));  // the connection that is kept
    CHECK(client.create("key", as_bytes("mine")));
    CHECK(s3.count("PUT") == 2);
    CHECK_FALSE(client.create("key", as_bytes("mine")));
}

TEST_CASE("s3 parts: a long object goes up in equal parts and is one object") {
    MemoryS3 s3;
    S3Client client = s3.service.client();
    for (const size_t size : {3001, 4000, 10'500}) {
        const std::string object = sample(size);
        const int64_t parts = (static_cast<int64_t>(size) + 999) / 1000;
        const int64_t before = s3.count("PUT", "partNumber=");
        client.put("key", as_bytes(object));
        CHECK(s3.objects[path] == object);
        CHECK(s3.count("PUT", "partNumber=") - before == parts);
        CHECK(s3.uploads.empty());
        CHECK_FALSE(client.create("key", as_bytes(object)));
        s3.objects.clear();
        CHECK(client.create("key", as_bytes(object)));
        CHECK(s3.service.asked().back().header("if-none-match") == "*");
        CHECK(s3.objects[path] == object);
    }
    for (const AskedOfS3& asked : s3.service.asked())
        if (asked.asks("partNumber=")) CHECK(asked.header("content-md5").size() == 24);

    // More than 10,000 parts are too many: they grow.
    S3Policy policy = hasty_policy();
    policy.put_part_bytes = 1;
    policy.multipart_bytes = 1;
    policy.budget_ms = 60'000;
    const std::string object = sample(10'001);
    S3Client fine = s3.service.client(policy);
    fine.put("key", as_bytes(object));
    CHECK(s3.objects[path] == object);
    CHECK(s3.service.asked().back().asks("uploadId="));
    CHECK(query_value(*(s3.service.asked().rbegin() + 1), "partNumber").size() <= 4);
}

TEST_CASE("s3 parts: an upload that was cut off goes on where it was") {
    MemoryS3 s3;
    const std::string object = sample(10'500);
    MemoryS3::Upload cut{path, {}};
    for (const int number : {1, 2, 3, 5, 7, 11})
        cut.parts[number] = object.substr(static_cast<size_t>(number - 1) * 1000, 1000);
    cut.parts[5][0] ^= 1;      // other bytes
    cut.parts[7].resize(500);  // another length
    cut.parts[12] = "no part of ours";
    s3.uploads["other1"] = {path, {{1, "something else"}}};
    s3.uploads["resumed"] = cut;
    s3.uploads["second"] = cut;                                          // one is enough
    s3.uploads["longer"] = {path + "x", {{1, object.substr(0, 1000)}}};  // of another key
    // The service puts into the object what it is told to, and no more.
    s3.instead = [&](const AskedOfS3& asked, size_t) {
        if (asked.method == "POST") s3.uploads["resumed"].parts.erase(12);
        if (asked.method == "POST") CHECK(asked.body.find("<PartNumber>12<") == std::string::npos);
        return "";
    };
    S3Client client = s3.service.client();
    CHECK(client.create("key", as_bytes(object)));
    CHECK(s3.objects[path] == object);
    CHECK(s3.uploads_begun == 0);
    CHECK(s3.count("PUT") == 7);
    std::string left;
    for (const auto& [id, upload] : s3.uploads) left += id + " ";
    CHECK(left == "longer other1 second ");  // may be somebody's who is still at it
}

TEST_CASE("s3 parts: who may not look for unfinished uploads writes all the same") {
    MemoryS3 s3;
    s3.instead = [](const AskedOfS3& asked, size_t) {
        return asked.method == "GET" && asked.asks("uploads=") ? s3_error(403, "AccessDenied") : "";
    };
    S3Client client = s3.service.client();
    client.put("key", as_bytes(sample(5000)));
    CHECK(s3.objects[path] == sample(5000));
}

TEST_CASE("s3 parts: an upload that the service forgot is begun again, once") {
    for (const int times : {1, 2}) {
        MemoryS3 s3;
        int left = times;
        s3.instead = [&](const AskedOfS3& asked, size_t) {
            if (query_value(asked, "partNumber") == "4" && left-- > 0) s3.uploads.clear();
            return "";
        };
        S3Client client = s3.service.client();
        const std::string object = sample(5000);
        if (times == 1)
            CHECK(client.create("key", as_bytes(object)));
        else
            CHECK(code_of([&] { client.create("key", as_bytes(object)); }, "removed twice") ==
                  ExitCode::storage);
        CHECK(s3.objects[path] == (times == 1 ? object : ""));
        CHECK(s3.uploads_begun == 2);
    }
}

TEST_CASE("s3 parts: a completion whose answer was lost is looked for before it is repeated") {
    const std::string hidden = s3_answer(200, "<Error><Code>InternalError</Code></Error>");
    for (const std::string& answer : {std::string("-"), hidden, s3_error(504, "GatewayTimeout")})
        for (const bool done : {true, false}) {
            MemoryS3 s3;
            bool lost = false;
            s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
                if (asked.method != "POST" || asked.body.empty() || lost) return "";
                lost = true;
                if (done && answer != "-") s3.serve(asked);
                if (!done && answer == "-") return "!";
                return answer;
            };
            S3Client client = s3.service.client();
            const std::string object = sample(5000);
            CHECK(client.create("key", as_bytes(object)));
            CHECK(s3.objects[path] == object);
            CHECK(s3.uploads_begun == 1);
            CHECK(s3.count("POST", "uploadId=") <= (done ? 1 : 2));
        }
}

TEST_CASE("s3 parts: a completion that comes true late is seen all the same") {
    for (const bool refused : {false, true}) {
        MemoryS3 s3;
        AskedOfS3 first;
        s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
            if (asked.method != "POST" || asked.body.empty()) return "";
            if (first.method.empty()) return first = asked, s3_error(500, "InternalError");
            s3.serve(first);
            return refused ? s3_error(412, "PreconditionFailed") : s3_error(404, "NoSuchUpload");
        };
        S3Client client = s3.service.client();
        CHECK(client.create("key", as_bytes(sample(5000))));
        CHECK(s3.uploads_begun == 1);
    }
}

TEST_CASE("s3 parts: a completion is believed by its ETag, or by a look at the object") {
    const std::string other = "00000000000000000000000000000000-5";
    struct Case {
        std::string body;
        bool stored, good;
    };
    for (const Case& test :
         {Case{"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>", true, true},
          Case{"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>", false, false},
          Case{"<html>welcome</html>", false, false},
          Case{"<CompleteMultipartUploadResult><ETag>" + other + "</ETag></CompleteMultipartUploadResult>",
               true, false},
          Case{"<CompleteMultipartUploadResult><ETag>opaque</ETag></CompleteMultipartUploadResult>", true,
               true}}) {
        CAPTURE(test.body);
        MemoryS3 s3;
        s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
            if (asked.method != "POST" || asked.body.empty()) return "";
            if (test.stored) s3.serve(asked);
            return s3_answer(200, test.body);
        };
        S3Client client = s3.service.client();
        CHECK(code_of([&] { client.put("key", as_bytes(sample(5000))); }) ==
              (test.good ? ExitCode::ok : ExitCode::storage));
    }
}

TEST_CASE("s3 parts: who comes second when it is completed has not created it") {
    MemoryS3 s3;
    s3.instead = [&](const AskedOfS3& asked, size_t) {
        if (asked.method == "POST" && !asked.body.empty()) s3.objects[path] = "theirs";
        return "";
    };
    S3Client client = s3.service.client();
    CHECK_FALSE(client.create("key", as_bytes(sample(5000))));
    CHECK(s3.objects[path] == "theirs");
}

TEST_CASE("s3 parts: a failure and a stop leave nothing behind") {
    for (const bool stopped : {false, true}) {
        MemoryS3 s3;
        std::atomic<bool> stop{false};
        s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
            if (query_value(asked, "partNumber") != "3") return "";
            if (stopped) stop = true;
            return stopped ? s3_error(503, "SlowDown") : s3_error(403, "AccessDenied");
        };
        S3Client client = s3.service.client(hasty_policy(), test_key, &stop);
        CHECK(code_of([&] { client.put("key", as_bytes(sample(5000))); }) ==
              (stopped ? ExitCode::interrupted : ExitCode::storage));
        CHECK(s3.uploads.empty());
        CHECK(s3.objects.empty());
    }
}

TEST_CASE("s3: what takes long is told of") {
    MemoryS3 s3;
    S3Policy policy = hasty_policy();
    policy.get_part_bytes = policy.put_part_bytes = 500'000;
    policy.multipart_bytes = 1'000'000;
    s3.instead = [&](const AskedOfS3&, size_t) {
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
        return "";
    };
    S3Client client = s3.service.client(policy);
    std::vector<int64_t> told;
    client.progress = [&](const std::string& key, int64_t done, int64_t total) {
        CHECK(key == "key");
        CHECK(total == 3'000'000);
        told.push_back(done);
    };
    const std::string object = sample(3'000'000);
    client.put("key", as_bytes(object));
    CHECK(as_text(client.fetch("key", 3'000'000, 0, nullptr)->first) == object);
    REQUIRE(told.size() >= 2);
    CHECK(told.size() <= 12);
    CHECK(told.back() == 3'000'000);
    CHECK(std::count(told.begin(), told.end(), 3'000'000) == 2);
}
