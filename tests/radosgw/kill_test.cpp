// kill -9 in the middle of an upload in parts.
#include "tests/radosgw/kill.h"

#include "net/bucket/bucket.h"
#include "net/s3/client.h"
#include "tests/radosgw/server.h"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace templar {

namespace {

constexpr int64_t part_bytes = 5 << 20;
constexpr int64_t object_bytes = 6 * part_bytes + 12'345;
constexpr int64_t bytes_before_death = 3 * part_bytes;

Bytes content(uint8_t seed) {
    Bytes bytes(object_bytes);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i / 7 + seed);
    return bytes;
}

S3Client client_of(const std::filesystem::path& credentials) {
    const S3Profile profile = find_profile("first", credentials);
    return S3Client(Transport::shared({.allow_http = true, .allow_private = true}),
                    parse_s3_url("s3://first", profile.endpoint, profile.region), profile.credentials,
                    {.put_part_bytes = part_bytes, .multipart_bytes = part_bytes, .parallel_parts = 2});
}

S3Client client() {
    return client_of(LocalServer::instance().credentials());
}

// Lets a process of its own begin to upload content(0) and die of it.
void upload_and_die(const std::string& key) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::execl("/proc/self/exe", "test_radosgw", upload_and_die_option,
                LocalServer::instance().credentials().c_str(), key.c_str(), nullptr);
        ::_exit(127);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
    S3Client looking = client();
    CHECK_FALSE(looking.head(key));
    CHECK(looking.list(key, "", 10).empty());
    CHECK(looking.unfinished_uploads(key).size() == 1);
}

void check_stored(const std::string& key, const Bytes& bytes) {
    S3Client looking = client();
    const auto stored = looking.get(key, object_bytes);
    REQUIRE(stored);
    CHECK(stored->first == bytes);
    CHECK(looking.unfinished_uploads(key).empty());
}

TEST_CASE("an upload that was killed goes on where it was") {
    for (const bool create : {false, true}) {
        const std::string key = create ? "kill/create" : "kill/put";
        upload_and_die(key);
        S3Client again = client();
        if (create)
            CHECK(again.create(key, content(0)));
        else
            again.put(key, content(0));
        constexpr int64_t listing = 2000;  // the parts' numbers and ETags, to complete it
        CHECK(again.stats().bytes_up <= object_bytes - bytes_before_death + listing);
        check_stored(key, content(0));
    }
}

TEST_CASE("parts of other bytes are not taken for one's own") {
    upload_and_die("kill/other");
    S3Client again = client();
    again.put("kill/other", content(1));
    CHECK(again.stats().bytes_up >= object_bytes);
    check_stored("kill/other", content(1));
}

TEST_CASE("what an upload left is swept only when nobody can be at work on it") {
    upload_and_die("kill/left");
    open_bucket("s3://first/kill?profile=first",
                {.credentials = LocalServer::instance().credentials(), .allow_http = true})
        ->sweep_unfinished();
    S3Client looking = client();
    const std::vector<S3Upload> left = looking.unfinished_uploads("kill/left");
    REQUIRE(left.size() == 1);
    CHECK(left[0].key == "kill/left");
    CHECK(std::abs(left[0].initiated_ms / 1000 - now_s()) < 60);
    looking.abort_upload(left[0]);
    looking.abort_upload(left[0]);
    CHECK(looking.unfinished_uploads("kill/left").empty());
    CHECK_FALSE(looking.head("kill/left"));
}

}  // namespace

int upload_and_die_main(const char* credentials, const char* key) {
    S3Client dying = client_of(credentials);
    dying.progress = [](const std::string&, int64_t done, int64_t) {
        if (done >= bytes_before_death) ::kill(::getpid(), SIGKILL);
    };
    dying.put(key, content(0));
    return 0;
}

}  // namespace templar
