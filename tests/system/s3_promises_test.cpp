// What the S3 client promises, where it is hard to keep: clocks that are wrong, objects that change while
// they are read, services that lead astray.
#include "tests/system/s3_client_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace templar;
using namespace templar::s3test;

TEST_CASE("a clock that is wrong costs one request") {
    for (const int64_t offset_s : {-86'400, -3600, 3600, 40'000'000}) {
        INFO(offset_s, " s");
        Scene scene;
        scene.server.set_clock_offset(offset_s);
        scene.client.put("key", sample_bytes(10, 1));
        CHECK(scene.requests() == 2);
        CHECK(scene.client.get("key", 10)->first == sample_bytes(10, 1));
        CHECK(scene.requests() == 3);
        const std::optional<int64_t> difference = scene.client.clock_difference_ms();
        REQUIRE(difference);
        CHECK(std::abs(*difference - offset_s * 1000) < 2500);
    }
    // A service that always blames the clock.
    Scene scene;
    scene.server.inject({.times = 1000, .status = 403, .code = "RequestTimeTooSkewed"});
    CHECK(has(error_of(ExitCode::storage, [&] { scene.client.get("key", 10); }), "clock"));
    CHECK(scene.requests() <= 3);
}

TEST_CASE("refusals are told once, with what to do") {
    Scene scene;
    const auto refused = [&](const S3Credentials& key, const std::string& bucket, const auto& call) {
        S3Client client(scene.transport, location_of(scene.server, bucket), key, scene.policy);
        scene.server.forget_counts();
        const std::string text = error_of(ExitCode::storage, [&] { call(client); });
        CHECK(scene.requests() == 1);
        return text;
    };
    const auto head = [](S3Client& client) { client.head("key"); };
    const auto get = [](S3Client& client) { client.get("key", 10); };
    const auto put = [](S3Client& client) { client.put("key", sample_bytes(10, 1)); };
    scene.server.add_key({"READER", "reader's secret", {}, true});
    const S3Credentials reader{"READER", "reader's secret", ""};
    CHECK(has(refused(reader, "bucket", put), "AccessDenied"));
    CHECK(has(refused(reader, "nobucket", get), "NoSuchBucket"));
    CHECK(has(refused({"NOBODY", "x", ""}, "bucket", get), "InvalidAccessKeyId"));
    CHECK(has(refused({our_key.id, "wrong", our_key.session_token}, "bucket", get), "secret access key"));
    CHECK(has(refused({our_key.id, our_key.secret, "old-token"}, "bucket", get), "InvalidToken"));
    CHECK(has(refused({}, "bucket", get), "AccessDenied"));
    refused({our_key.id, "wrong", our_key.session_token}, "bucket", head);
    S3Client reading(scene.transport, location_of(scene.server, "bucket"), reader, scene.policy);
    CHECK(!reading.head("key"));
    CHECK(!reading.get("key", 10));
    CHECK(!reading.fetch("key", 10, 0, nullptr));
    CHECK(reading.list("", "", 10).empty());
}

TEST_CASE("a redirect is not followed, and nothing is sent to where it leads") {
    Server trap;
    for (const char* path : {"/", "/bucket/key"}) {
        Scene scene;
        scene.server.inject({.fault = Fault::redirect, .times = 1000, .value = trap.origin() + path});
        error_of(ExitCode::storage, [&] { scene.client.get("key", 10); });
        error_of(ExitCode::storage, [&] { scene.client.put("key", sample_bytes(10, 1)); });
        CHECK(scene.requests() == 2);
    }
    CHECK(trap.counters().connections == 0);
}

TEST_CASE("Retry-After is honoured within the budget, and not beyond it") {
    Scene scene;
    scene.server.store("bucket", "key", sample_bytes(10, 1));
    const auto seconds_for = [&](const char* retry_after) {
        scene.server.heal();
        scene.server.inject({.status = 429, .code = "TooManyRequests", .retry_after = retry_after});
        const auto begun = std::chrono::steady_clock::now();
        CHECK(scene.client.get("key", 10));
        return seconds_since(begun);
    };
    CHECK(seconds_for("1") >= 1);
    CHECK(seconds_for("nonsense") < 5);
    CHECK(seconds_for("-5") < 5);
    scene.server.heal();
    for (const char* retry_after : {"3600", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"}) {
        INFO(std::string(retry_after));
        scene.server.inject({.status = 503, .retry_after = retry_after});
        const auto begun = std::chrono::steady_clock::now();
        const bool ended_well = [&] {
            try {
                return scene.client.get("key", 10).has_value();
            } catch (const Error& error) {
                return error.code() == ExitCode::storage;
            }
        }();
        CHECK(ended_well);
        CHECK(seconds_since(begun) < 5);
    }
}

TEST_CASE("an object that changes while it is read is read again, in one version") {
    S3Policy policy = hasty(10'000);
    policy.parallel_parts = 2;
    Scene scene(policy);
    const auto version = [](uint64_t number) { return sample_bytes(large_bytes, number); };
    scene.server.store("bucket", "key", version(1));
    uint64_t changes = 0, most_changes = 1;
    // Changed by the time its first part has arrived.
    const ArrivalCheck changing = [&](ByteSpan, ByteRange arrived) -> std::vector<ByteRange> {
        if (arrived.begin == 0 && changes < most_changes)
            scene.server.store("bucket", "key", version(2 + changes++));
        return {};
    };
    const auto found = scene.client.fetch("key", large_bytes, 0, changing);
    REQUIRE(found);
    CHECK((found->first == version(1) || found->first == version(2)));
    most_changes = 1000;
    try {
        const auto again = scene.client.fetch("key", large_bytes, 0, changing);
        REQUIRE(again);
        CHECK(std::any_of(&changes, &changes + 1, [&](uint64_t) {
            for (uint64_t number = 1; number < 2 + changes; ++number)
                if (again->first == version(number)) return true;
            return false;
        }));
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        CHECK(has(error.what(), "changed"));
    }
}

TEST_CASE("objects of another length are refused before they are read") {
    Scene scene;
    scene.server.store("bucket", "key", Bytes(50'000'000));
    scene.server.forget_counts();
    error_of(ExitCode::input, [&] { scene.client.get("key", 1000); });
    error_of(ExitCode::input, [&] { scene.client.fetch("key", 1000, 0, nullptr); });
    error_of(ExitCode::input, [&] { scene.client.fetch("key", 49'999'999, 0, nullptr); });
    error_of(ExitCode::input, [&] { scene.client.fetch("key", 50'000'001, 0, nullptr); });
    error_of(ExitCode::input, [&] { scene.client.get_range("key", 49'999'990, 11); });
    CHECK(scene.client.get_range("key", 49'999'990, 10)->size() == 10);
    CHECK(scene.requests() == 6);
    CHECK(scene.client.stats().bytes_down < 1'000'000);
}

TEST_CASE("a stop ends every wait at once") {
    for (const auto& rule :
         std::initializer_list<FaultRule>{{.fault = Fault::stall, .times = 1000},
                                          {.times = 1000, .retry_after = "5"},
                                          {.fault = Fault::stall_middle, .times = 1000, .bytes = 10}}) {
        Scene scene;
        std::atomic<bool> stop{false};
        S3Client client = scene.another(&stop);
        scene.server.store("bucket", "key", sample_bytes(large_bytes, 1));
        scene.server.inject(rule);
        std::thread stopper([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(150));
            stop = true;
        });
        const auto begun = std::chrono::steady_clock::now();
        error_of(ExitCode::interrupted, [&] { client.fetch("key", large_bytes, 0, nullptr); });
        CHECK(seconds_since(begun) < 2);
        stopper.join();
        error_of(ExitCode::interrupted, [&] { client.put("key", sample_bytes(10, 1)); });
    }
}

TEST_CASE("long listings: page by page, whatever happens between the pages") {
    Scene scene(quick_to_see_stalls());
    const auto key = [](int64_t i) { return fmt::format("many/{:05} &<%+ü", i); };
    for (int64_t i = 0; i < 2500; ++i) scene.server.store("bucket", key(i), Bytes(1));
    scene.server.store("bucket", "many", Bytes(1));
    scene.server.store("bucket", "zzz", Bytes(1));
    for (const Fault fault : {Fault::reset_middle, Fault::status, Fault::truncated, Fault::stall_middle})
        scene.server.inject({.fault = fault,
                             .operations = {Operation::list},
                             .times = 3,
                             .probability = 0.4,
                             .bytes = 30'000});
    const std::vector<S3ListedObject> all = scene.client.list("many/", "", 1'000'000);
    REQUIRE(all.size() == 2500);
    for (int64_t i = 0; i < 2500; ++i) CHECK(all[static_cast<size_t>(i)].key == key(i));
    const std::vector<S3ListedObject> some = scene.client.list("many/", key(1099), 1100);
    REQUIRE(some.size() == 1100);
    CHECK(some.front().key == key(1100));
    CHECK(some.back().key == key(2199));
}

TEST_CASE("every key is the bytes it is, signed as the service reads it") {
    Scene scene;
    for (const std::string key :
         {"a/b", "a//b", "a/../b", "./a", "a/./b", "a b+c=d&e?f#g%41", "é/ü", "(x)'!*~", ";:@,$"}) {
        INFO(key);
        CHECK(scene.client.create(key, as_bytes(key)));
        CHECK(scene.stored(key) == Bytes(key.begin(), key.end()));
        CHECK(scene.client.get(key, 100)->first == Bytes(key.begin(), key.end()));
        CHECK(scene.client.list(key, "", 10).front().key == key);
        scene.client.remove(key);
        CHECK(!scene.client.head(key));
    }
}

TEST_CASE("what is counted is what was asked") {
    Scene scene;
    scene.server.inject({.times = 3});
    scene.client.put("a", sample_bytes(1000, 1));
    scene.client.put("b", sample_bytes(large_bytes, 1));
    scene.client.get("a", 1000);
    scene.client.head("a");
    scene.client.fetch("b", large_bytes, 0, nullptr);
    scene.client.list("", "", 10);
    scene.client.remove("a");
    const TransferStats stats = scene.client.stats();
    CHECK(stats.class_a + stats.class_b + stats.deletes == scene.requests());
    CHECK(stats.class_b ==
          scene.server.counters().of(Operation::get) + scene.server.counters().of(Operation::head));
    CHECK(stats.deletes == 1);
    CHECK(stats.retries == 3);
    CHECK(stats.bytes_up >= 1000 + large_bytes);
    CHECK(stats.bytes_down >= 1000 + large_bytes);
    CHECK(scene.server.counters().expects == 0);
}

TEST_CASE("permissions for people without keys: as long, and for what, they say") {
    Scene scene;
    scene.server.store("bucket", "key", sample_bytes(100, 1));
    const auto ask = [&](const std::string& method, const std::string& url, const HttpHeaders& headers = {}) {
        const Bytes body = sample_bytes(10, 2);
        HttpRequest request{.method = method, .url = url, .headers = headers, .body = {}, .into = {}};
        if (method == "PUT") request.body = body;
        request.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        return scene.transport->perform(request).status;
    };
    CHECK(ask("GET", scene.client.presign("GET", "key", 60)) == 200);
    CHECK(ask("GET", scene.client.presign("GET", "other", 60)) == 404);
    CHECK(ask("PUT", scene.client.presign("GET", "key", 60)) == 403);
    const std::string ticket = scene.client.presign("PUT", "new", 60, true);
    CHECK(ask("PUT", ticket) == 403);  // without the condition it was signed with
    CHECK(ask("PUT", ticket, {{"If-None-Match", "*"}}) == 200);
    CHECK(ask("PUT", ticket, {{"If-None-Match", "*"}}) == 412);
    const std::string early = scene.client.presign("GET", "key", 60);
    scene.server.set_clock_offset(120);
    CHECK(ask("GET", early) == 400);
    CHECK(scene.requests() == 7);
}
