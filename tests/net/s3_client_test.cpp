#include "tests/net/error_code.h"
#include "tests/net/s3_service.h"

#include <doctest/doctest.h>

#include <ctime>

using namespace templar;

namespace {

using std::chrono::steady_clock;

double seconds_of(const std::function<void()>& action) {
    const auto begun = steady_clock::now();
    action();
    return std::chrono::duration<double>(steady_clock::now() - begun).count();
}

// Of X-Amz-Date: 20261122T024823Z.
int64_t signed_at_s(const AskedOfS3& asked) {
    std::tm utc{};
    REQUIRE(strptime(asked.header("x-amz-date").c_str(), "%Y%m%dT%H%M%SZ", &utc));
    return timegm(&utc);
}

std::string list_page(const std::vector<std::string>& keys, std::string_view next_token) {
    std::string text = "<ListBucketResult>";
    for (const std::string& key : keys)
        text += fmt::format(
            "<Contents><Key>{}</Key><LastModified>2023-11-14T22:13:20.999Z</LastModified><ETag>\"e\"</ETag>"
            "<Size>7</Size></Contents>",
            key);
    text += fmt::format("<IsTruncated>{}</IsTruncated>", !next_token.empty());
    if (!next_token.empty())
        text += fmt::format("<NextContinuationToken>{}</NextContinuationToken>", next_token);
    return text + "</ListBucketResult>";
}

}  // namespace

TEST_CASE("s3: what passes is tried again, and counted") {
    const std::vector<std::string> passing{s3_error(500, "InternalError"),
                                           s3_error(503, "SlowDown"),
                                           s3_error(429, "TooManyRequests"),
                                           s3_error(409, "OperationAborted"),
                                           s3_error(400, "IncompleteBody"),
                                           s3_answer(520),
                                           "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nLast-Mod",
                                           "not HTTP\r\n\r\n"};
    ScriptedS3 service([&](const AskedOfS3&, size_t before) {
        return before < passing.size() ? passing[before] : s3_answer(200, "hello", "ETag: \"e\"\r\n");
    });
    S3Client client = service.client();
    // An answer that breaks off in the middle: by the stall guard.
    const auto found = client.get("key", 100);
    REQUIRE(found);
    CHECK(as_text(found->first) == "hello");
    CHECK(found->second.modified_ms == object_time_s * 1000);
    CHECK(found->second.etag == "e");
    CHECK(service.requests() == passing.size() + 1);
    CHECK(client.stats().class_b == std::ssize(passing) + 1);
    CHECK(client.stats().retries == std::ssize(passing));
}

TEST_CASE("s3: what does not pass is not tried again, and says what to do") {
    struct Case {
        std::string answer, mentions;
    };
    const std::vector<Case> cases{
        {s3_error(401, "Unauthorized"), "access key"},
        {s3_error(403, "AccessDenied", "No &lt;access&gt;"), "403 AccessDenied \"No <access>\""},
        {s3_error(403, "InvalidAccessKeyId"), "access key"},
        {s3_error(403, "SignatureDoesNotMatch"), "secret access key"},
        {s3_error(404, "NoSuchBucket"), "create the bucket"},
        {s3_answer(404, "<html>not here</html>"), "endpoint="},
        {s3_error(301, "PermanentRedirect", "", "Location: http://127.0.0.1:1/\r\n"), "region="},
        {s3_error(400, "EntityTooLarge"), "size"},
        {s3_error(409, "BucketNotEmpty"), "409"},
        {s3_answer(418), "418"},
    };
    for (const Case& test : cases) {
        CAPTURE(test.answer);
        ScriptedS3 service([&](const AskedOfS3&, size_t) { return test.answer; });
        S3Client client = service.client();
        CHECK(code_of([&] { client.get("some/key", 100); }, test.mentions) == ExitCode::storage);
        CHECK(code_of([&] { client.put("some/key", as_bytes("x")); },
                      "s3://bucket/some/key: PUT failed after 1") == ExitCode::storage);
        CHECK(service.requests() == 2);
    }
}

TEST_CASE("s3: an object that is not there is nothing, a bucket that is not is an error") {
    ScriptedS3 service([&](const AskedOfS3& asked, size_t) {
        return asked.method == "HEAD" ? s3_answer(404) : s3_error(404, "NoSuchKey");
    });
    S3Client client = service.client();
    CHECK_FALSE(client.head("key"));
    CHECK_FALSE(client.get("key", 10));
    CHECK_FALSE(client.get_range("key", 0, 10));
    CHECK_FALSE(client.get_range("key", 0, 0));
    CHECK_FALSE(client.fetch("key", 5000, 0, nullptr));
    client.remove("key");
    CHECK(client.get_many({"a", "b"}, 10).size() == 2);
    CHECK(service.requests() == 8);
}

TEST_CASE("s3: Retry-After is obeyed within the budget, and no longer") {
    std::string retry_after = "1";
    ScriptedS3 service([&](const AskedOfS3&, size_t before) {
        return before % 2 ? s3_answer(200, "x")
                          : s3_error(503, "SlowDown", "",
                                     fmt::format("Date: {}\r\nRetry-After: {}\r\n", http_date(1'000'000'000),
                                                 retry_after));
    });
    S3Client client = service.client();
    for (const std::string& text : {std::string("1"), http_date(1'000'000'001)}) {
        retry_after = text;
        const double seconds = seconds_of([&] { client.get("key", 10); });
        CHECK(seconds >= 1);
        CHECK(seconds < 2.5);
    }
    for (const std::string& text :
         {std::string("100"), std::string("99999999999"), http_date(4'000'000'000)}) {
        retry_after = text;
        ScriptedS3 patient([&](const AskedOfS3&, size_t) {
            return s3_error(503, "SlowDown", "", fmt::format("Retry-After: {}\r\n", retry_after));
        });
        S3Client refused = patient.client();
        CHECK(seconds_of([&] {
                  CHECK(code_of([&] { refused.get("key", 10); }, "asks to wait") == ExitCode::storage);
              }) < 1);
        CHECK(patient.requests() == 1);
    }
}

TEST_CASE("s3: the budget is the end of it, whatever happens") {
    const auto run_out = [](const ScriptedS3::Answer& answer, const std::string& mentions) {
        ScriptedS3 service(answer);
        S3Policy policy = hasty_policy();
        policy.budget_ms = 300;
        S3Client client = service.client(policy);
        CHECK(seconds_of([&] {
                  CHECK(code_of([&] { client.get("key", 10); }, mentions) == ExitCode::storage);
              }) < 1.5);
        CHECK(service.requests() > 2);
    };
    run_out([](const AskedOfS3&, size_t) { return s3_error(503, "SlowDown", "calm down"); },
            "503 SlowDown \"calm down\"");
    run_out([](const AskedOfS3&, size_t) { return std::string(); }, "look at the network");

    // Nobody there at all: the port was free a moment ago.
    S3Client nobody = [] { return ScriptedS3([](auto&&...) { return ""; }).client({.budget_ms = 200}); }();
    CHECK(code_of([&] { nobody.get("key", 10); }, "look at endpoint=") == ExitCode::storage);
}

TEST_CASE("s3: a stop ends a pause and a silence") {
    for (const bool silent : {false, true}) {
        ScriptedS3 service([&](const AskedOfS3&, size_t) {
            if (silent) std::this_thread::sleep_for(std::chrono::milliseconds(1000));
            return s3_error(503, "SlowDown", "", "Retry-After: 2\r\n");
        });
        std::atomic<bool> stop{false};
        S3Client client = service.client(hasty_policy(), test_key, &stop);
        std::thread stopper([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            stop = true;
        });
        CHECK(seconds_of([&] {
                  CHECK(code_of([&] { client.get("key", 10); }, "stopped") == ExitCode::interrupted);
              }) < 0.8);
        stopper.join();
    }
}

TEST_CASE("s3: a clock that is wrong is found out and made good") {
    for (const int64_t wrong_by : {-3600, 100'000}) {
        const auto service_time = [wrong_by] { return std::time(nullptr) + wrong_by; };
        ScriptedS3 service([&](const AskedOfS3& asked, size_t) {
            const std::string date = fmt::format("Date: {}\r\n", http_date(service_time()));
            if (std::abs(signed_at_s(asked) - service_time()) <= 900) return s3_answer(200, "x", date);
            return asked.method == "HEAD" ? s3_answer(403, "", date)
                                          : s3_error(403, "RequestTimeTooSkewed", "", date);
        });
        for (const bool by_head : {false, true}) {
            S3Client client = service.client();
            const size_t before = service.requests();
            if (by_head)
                CHECK(client.head("key"));
            else
                CHECK(client.get("key", 10));
            CHECK(service.requests() - before == 2);
            CHECK(client.get("key", 10));
            CHECK(service.requests() - before == 3);
            CHECK(std::abs(*client.clock_difference_ms() - wrong_by * 1000) < 5000);
        }
    }
    // A service that says so whatever is done.
    ScriptedS3 service([](const AskedOfS3&, size_t) {
        return s3_error(403, "RequestTimeTooSkewed", "",
                        fmt::format("Date: {}\r\n", http_date(std::time(nullptr) + 5000)));
    });
    S3Client client = service.client();
    CHECK(code_of([&] { client.get("key", 10); }, "set this machine's clock: the service's is +50") ==
          ExitCode::storage);
    CHECK(service.requests() == 2);
}

TEST_CASE("s3: a key that has worked gets one more try, a key that has not gets none") {
    bool works = true;
    ScriptedS3 service([&](const AskedOfS3&, size_t) {
        return works ? s3_answer(200, "x") : s3_error(403, "SignatureDoesNotMatch");
    });
    S3Client client = service.client();
    client.get("key", 10);
    works = false;
    CHECK(code_of([&] { client.get("key", 10); }) == ExitCode::storage);
    CHECK(service.requests() == 3);
    S3Client fresh = service.client();
    CHECK(code_of([&] { fresh.get("key", 10); }) == ExitCode::storage);
    CHECK(service.requests() == 4);
}

TEST_CASE("s3: no error tells a secret or controls a terminal") {
    ScriptedS3 service([](const AskedOfS3& asked, size_t) {
        return s3_error(403, "AccessDenied",
                        asked.head + "a-very-secret-key \x1b[2J" + std::string(5000, 'x'));
    });
    S3Client client = service.client();
    try {
        client.get("key", 10);
        FAIL("expected an error");
    } catch (const Error& error) {
        const std::string text = error.what();
        for (const char* secret : {"a-very-secret-key", "a-session-token", "\x1b", "\r", "\n"})
            CHECK(text.find(secret) == std::string::npos);
        CHECK(text.find(service.asked()[0].header("authorization")) == std::string::npos);
        CHECK(text.size() < 3000);
    }
}

TEST_CASE("s3: without a key nothing is signed") {
    ScriptedS3 service([](const AskedOfS3&, size_t) { return s3_answer(200, "x"); });
    S3Client client = service.client(hasty_policy(), {});
    CHECK(client.get("a b", 10));
    CHECK(service.asked()[0].target == "/bucket/a%20b");
    CHECK(service.asked()[0].header("authorization").empty());
    CHECK(service.asked()[0].header("x-amz-date").empty());
    CHECK(code_of([&] { client.presign("GET", "key", 60); }) == ExitCode::identity);
}

TEST_CASE("s3: keys are sent as they are, signed, and nothing else is asked for") {
    ScriptedS3 service([](const AskedOfS3&, size_t) { return s3_answer(200, "x"); });
    S3Client client = service.client();
    client.get("a/../b//c+d=ü", 10);
    const AskedOfS3 asked = service.asked()[0];
    CHECK(asked.target == "/bucket/a/../b//c%2Bd%3D%C3%BC");
    CHECK(asked.header("x-amz-security-token") == "a-session-token");
    CHECK(asked.header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    CHECK(asked.header("accept-encoding").empty());
    const std::string ticket = client.presign("PUT", "join/x", 60, true);
    CHECK(ticket.starts_with(service.origin() + "/bucket/join/x?"));
    CHECK(ticket.find("X-Amz-SignedHeaders=host%3Bif-none-match") != std::string::npos);
}

TEST_CASE("s3: nothing longer than allowed is read") {
    std::string answer;
    ScriptedS3 service([&](const AskedOfS3&, size_t) { return answer; });
    S3Client client = service.client();
    answer = s3_answer(200, "", "Content-Length: 1000000000000\r\n");
    CHECK(code_of([&] { client.get("key", 10); }, "expected at most 10") == ExitCode::input);
    answer = s3_answer(200, "12345678901");
    CHECK(code_of([&] { client.get("key", 10); }, "has 11 bytes, expected at most 10") == ExitCode::input);
    answer = s3_answer(200, "1234567890");
    CHECK(client.get("key", 10)->first.size() == 10);
    // No length announced.
    answer = fmt::format("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLast-Modified: {}\r\n\r\n",
                         http_date(object_time_s));
    for (int i = 0; i < 100; ++i) answer += "1000\r\n" + std::string(4096, 'x') + "\r\n";
    CHECK(code_of([&] { client.get("key", 10); }) == ExitCode::input);
    CHECK(code_of([&] { client.fetch("key", 10, 0, nullptr); }) == ExitCode::input);
    CHECK(service.requests() == 5);
}

TEST_CASE("s3: a part is not taken for the whole") {
    ScriptedS3 service(
        [](const AskedOfS3&, size_t) { return s3_answer(206, "hel", "Content-Range: bytes 0-2/5\r\n"); });
    S3Client client = service.client();
    CHECK(code_of([&] { client.get("key", 10); }) == ExitCode::storage);
    CHECK(code_of([&] { client.fetch("key", 3, 0, nullptr); }) == ExitCode::input);
    CHECK(code_of([&] { client.fetch("key", 5, 0, nullptr); }) == ExitCode::storage);
}

TEST_CASE("s3: of many objects each has its own end") {
    ScriptedS3 service([](const AskedOfS3& asked, size_t) {
        if (asked.asks("none")) return s3_error(404, "NoSuchKey");
        if (asked.asks("long")) return s3_answer(200, std::string(100, 'x'));
        if (asked.asks("secret")) return s3_error(403, "AccessDenied");
        return s3_answer(200, asked.target);
    });
    S3Client client = service.client();
    std::vector<std::string> keys{"none", "long", "secret"};
    for (int i = 0; i < 100; ++i) keys.push_back(std::to_string(i));
    const std::vector<S3GetResult> results = client.get_many(keys, 50);
    REQUIRE(results.size() == keys.size());
    CHECK((!results[0].object && !results[0].error));
    CHECK(results[1].error->code() == ExitCode::input);
    CHECK(results[2].error->code() == ExitCode::storage);
    for (size_t i = 3; i < keys.size(); ++i) {
        REQUIRE(results[i].object);
        CHECK(as_text(results[i].object->first) == "/bucket/" + keys[i]);
    }
    CHECK(client.get_many({}, 50).empty());
}

TEST_CASE("s3: lists are read page by page") {
    ScriptedS3 service([](const AskedOfS3& asked, size_t) {
        if (!asked.asks("continuation-token")) return s3_answer(200, list_page({"p/a", "p/b"}, "t/1"));
        CHECK(asked.asks("continuation-token=t%2F1"));
        return s3_answer(200, list_page({"p/c", "p/d"}, ""));
    });
    S3Client client = service.client();
    const auto all = client.list("p/", "p/0", 1000);
    REQUIRE(all.size() == 4);
    CHECK(all[3].key == "p/d");
    CHECK(all[0].modified_ms == object_time_s * 1000);  // as HEAD and GET say it: without its 0.999 s
    CHECK(all[0].size == 7);
    CHECK(service.asked()[0].asks("prefix=p%2F"));
    CHECK(service.asked()[0].asks("start-after=p%2F0"));
    CHECK(client.list("p/", "", 3).size() == 3);
    CHECK(service.asked().back().asks("max-keys=1&"));
    CHECK(client.list("p/", "", 2).size() == 2);
    CHECK(service.requests() == 5);
    CHECK(client.list("p/", "", 0).empty());
    CHECK(client.stats().class_a == 5);
}

TEST_CASE("s3: a list that does not advance, or is none, is an error") {
    const std::vector<std::string> answers{
        list_page({"p/a", "p/b"}, "t"),
        list_page({}, "t"),
        list_page({"p/b", "p/a"}, ""),
        list_page({"p/a", "p/a"}, ""),
        list_page({"q"}, ""),
        list_page({"p/0"}, ""),
        "<html/>",
        "",
        "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>"};
    for (const std::string& answer : answers) {
        CAPTURE(answer);
        ScriptedS3 service([&](const AskedOfS3&, size_t) { return s3_answer(200, answer); });
        S3Client client = service.client();
        CHECK(code_of([&] { client.list("p/", "p/0", 1000); }) == ExitCode::storage);
        CHECK(service.requests() <= 2);
    }
}
