// The Bucket interface over s3://, at a real service.
#include "base/random.h"
#include "net/bucket/bucket.h"
#include "net/s3/client.h"
#include "tests/net/error_code.h"
#include "tests/radosgw/server.h"

#include <fmt/core.h>

#include <chrono>
#include <thread>

using namespace templar;

namespace {

const PeerRules loopback{.allow_http = true, .allow_private = true};

std::unique_ptr<Bucket> open(const std::string& folder) {
    return open_bucket("s3://first/" + folder + "?profile=first",
                       {.credentials = LocalServer::instance().credentials(), .allow_http = true});
}

// Of tests about time: not the patience of real use.
S3Client hasty_client(const S3Profile& profile, S3Policy policy = {.budget_ms = 1500}) {
    return S3Client(Transport::shared({.allow_http = true, .allow_private = true}),
                    parse_s3_url("s3://first", profile.endpoint, profile.region), profile.credentials,
                    policy);
}

Bytes bytes_of(size_t size, uint64_t seed) {
    Bytes bytes(size);
    uint64_t state = seed;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((state = state * 6364136223846793005u + 1) >> 56);
    return bytes;
}

int64_t ms_of(const std::function<void()>& action) {
    const auto start = std::chrono::steady_clock::now();
    action();
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start)
        .count();
}

std::vector<std::string> keys_of(const std::vector<ObjectInfo>& objects) {
    std::vector<std::string> keys;
    for (const ObjectInfo& object : objects) keys.push_back(object.key);
    return keys;
}

TEST_CASE("an object is put, seen, read, replaced and removed") {
    const auto bucket = open("life");
    const Bytes first = bytes_of(100'000, 1), second = bytes_of(99, 2);
    CHECK_FALSE(bucket->head("a/b"));
    CHECK_FALSE(bucket->get("a/b", 1));
    CHECK_FALSE(bucket->get_range("a/b", 0, 1));
    CHECK_FALSE(bucket->fetch("a/b", 1));
    bucket->remove("a/b");

    bucket->put("a/b", first);
    const auto info = bucket->head("a/b");
    REQUIRE(info);
    CHECK(info->key == "a/b");
    CHECK(info->size == 100'000);
    CHECK(std::abs(info->modified_ms - 1000 * now_s()) < 60'000);
    CHECK(bucket->get("a/b", 100'000) == first);
    CHECK(code_of([&] { bucket->get("a/b", 99'999); }, "99999") == ExitCode::input);
    CHECK(bucket->get_range("a/b", 10, 90) == Bytes(first.begin() + 10, first.begin() + 100));
    CHECK(bucket->get_range("a/b", 99'999, 1) == Bytes{first.back()});
    CHECK(code_of([&] { bucket->get_range("a/b", 99'999, 2); }) == ExitCode::input);
    CHECK(code_of([&] { bucket->get_range("a/b", 100'000, 1); }) == ExitCode::input);

    CHECK_FALSE(bucket->create("a/b", second));
    CHECK(bucket->get("a/b", 100'000) == first);
    bucket->put("a/b", second);
    CHECK(bucket->get("a/b", 100'000) == second);
    bucket->remove("a/b");
    CHECK_FALSE(bucket->head("a/b"));
    CHECK(bucket->create("a/b", first));
    bucket->put("empty", {});
    CHECK(bucket->get("empty", 0) == Bytes{});
    for (const char* key : {"../up", "a//b", "/a", "a/", "ä", ""})
        CHECK(code_of([&] { bucket->put(key, second); }) == ExitCode::input);
}

TEST_CASE("a listing is in order, from its start, up to its limit, over several pages") {
    const auto bucket = open("list");
    const auto outside = open("list-2");
    outside->put("outside", {});
    std::vector<std::string> keys;
    for (int i = 0; i < 1003; ++i) keys.push_back(fmt::format("n/{:04}", i));
    for (const char* key : {"a", "a-b", "a.b", "a/b", "a/b/c", "aa", "z"}) keys.push_back(key);
    std::vector<std::jthread> writers;
    for (size_t writer = 0; writer < 8; ++writer)
        writers.emplace_back([&, writer] {
            for (size_t i = writer; i < keys.size(); i += 8) bucket->put(keys[i], as_bytes(keys[i]));
        });
    writers.clear();
    std::sort(keys.begin(), keys.end());
    CHECK(keys_of(bucket->list("", "", 5000)) == keys);
    CHECK(keys_of(bucket->list("", "", 1002)) == std::vector(keys.begin(), keys.begin() + 1002));
    CHECK(keys_of(bucket->list("a", "a-b")) == std::vector<std::string>{"a.b", "a/b", "a/b/c", "aa"});
    CHECK(keys_of(bucket->list("a/", "")) == std::vector<std::string>{"a/b", "a/b/c"});
    CHECK(keys_of(bucket->list("", "n/1001")) == std::vector<std::string>{"n/1002", "z"});
    CHECK(keys_of(bucket->list("n/", "n/0998", 2)) == std::vector<std::string>{"n/0999", "n/1000"});
    CHECK(bucket->list("nothing", "").empty());
    CHECK(bucket->list("", "z").empty());
    CHECK(bucket->list("", "", 0).empty());
    CHECK(bucket->list("z")[0].size == 1);
}

TEST_CASE("many objects are got at once, each with its own answer") {
    const auto bucket = open("many");
    std::vector<std::string> keys;
    for (int i = 0; i < 40; ++i) keys.push_back(fmt::format("{}", i));
    for (int i = 0; i < 40; i += 2) bucket->put(keys[i], bytes_of(i == 20 ? 2000 : 1000, i));
    const std::vector<GetResult> results = bucket->get_many(keys, 1000);
    REQUIRE(results.size() == 40);
    for (int i = 0; i < 40; ++i) {
        CAPTURE(i);
        CHECK(results[i].error.has_value() == (i == 20));
        REQUIRE(results[i].object.has_value() == (i % 2 == 0 && i != 20));
        if (results[i].object) CHECK(results[i].object->bytes == bytes_of(1000, i));
    }
    CHECK(results[20].error->code() == ExitCode::input);
    CHECK(bucket->get_many({}, 1).empty());
}

TEST_CASE("a large object is fetched in ranges, looked at as it arrives") {
    const auto bucket = open("fetch");
    const Bytes large = bytes_of(30 << 20, 3);
    bucket->put("large", large);
    const int64_t size = std::ssize(large);
    const auto whole = bucket->fetch("large", size);
    REQUIRE(whole);
    CHECK(whole->bytes == large);
    CHECK(code_of([&] { bucket->fetch("large", size - 1); }) == ExitCode::input);
    CHECK(code_of([&] { bucket->fetch("large", size + 1); }) == ExitCode::input);

    int64_t arrived = 0, doubts = 0;
    const auto looked_at = bucket->fetch("large", size, 0, [&](ByteSpan object, ByteRange range) {
        CHECK(std::ssize(object) == size);
        CHECK(std::equal(object.begin() + range.begin, object.begin() + range.end,
                         large.begin() + range.begin));
        arrived += range.end - range.begin;
        if (doubts++ > 0) return std::vector<ByteRange>{};
        return std::vector<ByteRange>{{range.begin + 10, range.begin + 1000}};
    });
    REQUIRE(looked_at);
    CHECK(looked_at->bytes == large);
    CHECK(arrived == size + 990);
    const auto refuse = [](ByteSpan, ByteRange) -> std::vector<ByteRange> {
        fail(ExitCode::input, "no good");
    };
    CHECK(code_of([&] { bucket->fetch("large", size, 0, refuse); }, "no good") == ExitCode::input);
    const auto never_content = [](ByteSpan, ByteRange range) { return std::vector<ByteRange>{range}; };
    CHECK(code_of([&] { bucket->fetch("large", size, 20'000, never_content); }) != ExitCode::ok);
    CHECK(bucket->stats().bytes_down < 8 * size);
}

TEST_CASE("an object longer than a part goes up in parts") {
    S3Client client = hasty_client(LocalServer::instance().profile("first"),
                                   {.put_part_bytes = 5 << 20, .multipart_bytes = 5 << 20});
    for (const size_t size : {(5u << 20) + 1, 15u << 20, (15u << 20) + 12'345}) {
        CAPTURE(size);
        const Bytes bytes = bytes_of(size, size);
        client.put("parts/object", bytes);
        const auto got = client.get("parts/object", std::ssize(bytes));
        REQUIRE(got);
        CHECK(got->first == bytes);
        CHECK(got->second.etag.find('-') != std::string::npos);
        CHECK_FALSE(client.create("parts/object", bytes_of(size, 1)));
    }
    client.remove("parts/object");
    CHECK(client.create("parts/object", bytes_of(6 << 20, 1)));
    CHECK(client.unfinished_uploads("parts/").empty());
}

TEST_CASE("a service that is silent costs no more than the time allowed, and is taken up again") {
    const auto bucket = open("silent");
    S3Client hasty = hasty_client(LocalServer::instance().profile("first"));
    const Bytes bytes = bytes_of(1 << 20, 4);
    bucket->put("object", bytes);
    {
        const Paused paused;
        const auto in_time = [](const std::function<void()>& action) {
            const int64_t ms = ms_of([&] { CHECK(code_of(action) == ExitCode::storage); });
            CHECK(ms >= 1000);
            CHECK(ms < 6000);
        };
        in_time([&] { bucket->fetch("object", 1 << 20, 1500); });
        in_time([&] { hasty.head("silent/object"); });
        in_time([&] { hasty.create("silent/other", Bytes{1}); });
        in_time([&] { hasty.list("silent/", "", 10); });
    }
    CHECK(bucket->fetch("object", 1 << 20, 20'000)->bytes == bytes);
    CHECK(bucket->list("").size() >= 1);
}

TEST_CASE("a stop ends a wait at once") {
    std::atomic<bool> stop = false;
    const auto bucket = open_bucket(
        "s3://first?profile=first",
        {.credentials = LocalServer::instance().credentials(), .allow_http = true, .stop = &stop});
    const Paused paused;
    const std::jthread stopper([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        stop = true;
    });
    const int64_t ms = ms_of([&] { CHECK(code_of([&] { bucket->head("a"); }) == ExitCode::interrupted); });
    CHECK(ms < 5000);
}

TEST_CASE("a reader reads, and is told what it may not do") {
    const LocalServer& server = LocalServer::instance();
    const Bytes bytes = bytes_of(10'000, 5);
    open("read")->put("object", bytes);
    const std::string url = open("read")->url();
    CHECK(url.find("profile") == std::string::npos);
    const auto reader = open_peer_bucket(url, server.profile("first-read").credentials, loopback);
    CHECK(reader->get("object", 10'000) == bytes);
    CHECK(reader->fetch("object", 10'000)->bytes == bytes);
    CHECK_FALSE(reader->get("nothing", 10));
    CHECK(reader->get_many({"object", "nothing"}, 10'000)[0].object->bytes == bytes);
    for (const auto& forbidden : std::vector<std::function<void()>>{
             [&] { reader->put("object", bytes); }, [&] { reader->create("new", bytes); },
             [&] { reader->remove("object"); }, [&] { reader->list(""); }})
        CHECK(code_of(forbidden, "this key may not do that") == ExitCode::storage);
    CHECK(open("read")->get("object", 10'000) == bytes);

    const auto anonymous = open_peer_bucket(url, {}, loopback);
    CHECK(code_of([&] { anonymous->get("object", 10'000); }, "403 AccessDenied") == ExitCode::storage);
    const auto other = open_peer_bucket(url, server.profile("second").credentials, loopback);
    CHECK(code_of([&] { other->get("object", 10'000); }, "403 AccessDenied") == ExitCode::storage);
    for (const PeerRules& rules :
         {PeerRules{}, PeerRules{.allow_http = true}, PeerRules{.allow_private = true}})
        CHECK(code_of([&] { open_peer_bucket(url, {}, rules)->get("object", 10); }) == ExitCode::input);
}

TEST_CASE("what is set wrong is named, and no secret is") {
    const S3Profile right = LocalServer::instance().profile("first");
    const auto complaint = [](const S3Profile& profile, const std::string& bucket = "first") {
        S3Client client(Transport::shared({.allow_http = true, .allow_private = true}),
                        parse_s3_url("s3://" + bucket, profile.endpoint, profile.region), profile.credentials,
                        {.budget_ms = 1500});
        try {
            client.get("object", 10);
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::storage);
            const std::string said = error.what();
            CHECK(said.find(profile.credentials.secret_access_key) == std::string::npos);
            return said;
        }
        return std::string("nothing");
    };
    const auto names = [](const std::string& said, const std::string& what) {
        CAPTURE(said);
        CHECK(said.find(what) != std::string::npos);
    };
    S3Profile wrong = right;
    wrong.credentials.secret_access_key.back() ^= 1;
    names(complaint(wrong), "look at the secret access key");
    wrong = right;
    wrong.credentials.access_key_id = "NOBODY";
    names(complaint(wrong), "look at the access key");
    wrong = right;
    wrong.endpoint = "http://127.0.0.1:1";
    names(complaint(wrong), "look at endpoint=");
    names(complaint(right, "no-such-bucket"), "look at the bucket's name");
    names(complaint(right, "second"), "this key may not do that");
}

TEST_CASE("what travelled is counted") {
    const auto bucket = open("stats");
    bucket->put("object", Bytes(1000));
    bucket->get("object", 1000);
    bucket->head("object");
    bucket->list("");
    bucket->remove("object");
    const TransferStats stats = bucket->stats();
    CHECK(stats.class_a == 2);
    CHECK(stats.class_b == 2);
    CHECK(stats.deletes == 1);
    CHECK(stats.retries == 0);
    CHECK(stats.bytes_up == 1000);
    CHECK(stats.bytes_down > 1000);
    CHECK(stats.bytes_down < 3000);
}

}  // namespace
