// What a participant tells the others of its buckets, and how it reads theirs.
#include "node/own_buckets.h"

#include "base/file.h"
#include "base/temporary_folder.h"
#include "node/peer_buckets.h"
#include "tests/net/error_code.h"

#include <doctest/doctest.h>

using namespace templar;

namespace {

struct Fixture {
    TemporaryFolder folder;
    std::atomic<bool> stop{false};
    SystemClock clock;
    NodeOptions options;

    Fixture() {
        options.folder = folder.path();
        options.bucket_url = "s3://the-run?endpoint=https://s3.example.org&profile=run";
        options.payload_bucket_url = "s3://mine/part?endpoint=https://s3.example.org&profile=payload";
        keys(
            "[run]\naws_access_key_id = RUN\naws_secret_access_key = run-secret\n"
            "[payload]\naws_access_key_id = WRITE\naws_secret_access_key = write-secret\n"
            "[read]\naws_access_key_id = READ\naws_secret_access_key = read-secret\n"
            "[temporary]\naws_access_key_id = WRITE\naws_secret_access_key = other\naws_session_token = t\n"
            "[twin]\naws_access_key_id = OTHER\naws_secret_access_key = write-secret\n");
    }
    void keys(const std::string& text) {
        std::filesystem::remove(folder.path() / "credentials");
        REQUIRE(create_file(folder.path() / "credentials", as_bytes(text), 0600));
    }
    BucketAddress address() {
        const auto bucket = open_bucket(payload_url(options), own_bucket_options(options, clock, stop));
        return published_address(options, *bucket);
    }
};

}  // namespace

TEST_CASE("own buckets: the read key is published, and nothing else") {
    Fixture f;
    const BucketAddress address = f.address();
    CHECK(address.read_key == S3Credentials{"READ", "read-secret", ""});
    CHECK(address.url == "s3://mine/part?endpoint=https://s3.example.org&region=us-east-1");
    f.options.read_profile = "none";
    CHECK(f.address().read_key.empty());
    f.options.read_profile = "temporary";  // as R2 makes them: same id, a token of their own
    CHECK(f.address().read_key.session_token == "t");
    // Another place for the keys.
    std::filesystem::rename(f.folder.path() / "credentials", f.folder.path() / "elsewhere");
    f.options.credentials = f.folder.path() / "elsewhere";
    CHECK(f.address().read_key.session_token == "t");
}

TEST_CASE("own buckets: a key that may write is never published") {
    Fixture f;
    for (const char* profile : {"payload", "run", "twin"}) {
        CAPTURE(profile);
        f.options.read_profile = profile;
        CHECK(code_of([&] { f.address(); }, "another key that may only read") == ExitCode::identity);
    }
    f.options.read_profile = "read";
    f.keys(
        "[run]\naws_access_key_id = RUN\naws_secret_access_key = r\n"
        "[payload]\naws_access_key_id = WRITE\naws_secret_access_key = w\n");
    CHECK(code_of([&] { f.address(); }, "--read-profile") == ExitCode::identity);
    f.keys(
        "[run]\naws_access_key_id = RUN\naws_secret_access_key = r\n"
        "[payload]\naws_access_key_id = WRITE\naws_secret_access_key = w\n"
        "[read]\naws_access_key_id = WRITE\naws_secret_access_key = w\n");
    try {
        f.address();
        FAIL("the key that writes was published");
    } catch (const Error& error) {
        CHECK(std::string(error.what()).find("write-secret") == std::string::npos);
    }
}

TEST_CASE("own buckets: a run elsewhere needs payloads elsewhere") {
    Fixture f;
    f.options.payload_bucket_url = "";
    std::filesystem::create_directory(f.folder.path() / "bucket");
    CHECK(code_of([&] { f.address(); }, "--payload-bucket") == ExitCode::usage);
    f.options.bucket_url = "file://" + (f.folder.path() / "run").string();
    CHECK(f.address().url == "file://" + (f.folder.path() / "bucket").string());
    CHECK(f.address().read_key.empty());
}

TEST_CASE("peer buckets: opened once for a URL and key, closed together, bounded by the rules") {
    TemporaryFolder folder;
    std::atomic<bool> stop{false};
    const std::string url = "file://" + folder.path().string();
    open_bucket(url)->put("a", Bytes(100));
    PeerBuckets peers({.allow_file = true}, stop);
    Bucket& bucket = peers.at({url, {}});
    CHECK(&peers.at({url, {}}) == &bucket);
    // Who publishes another's URL with a key that does not fit spoils nothing.
    CHECK(&peers.at({url, {"id", "secret", ""}}) != &bucket);
    CHECK(bucket.get("a", 1000));
    CHECK(peers.stats().bytes_down == 100);
    peers.close();
    CHECK(peers.stats().bytes_down == 100);
    CHECK(peers.at({url, {}}).get("a", 1000));
    CHECK(peers.stats().bytes_down == 200);

    PeerBuckets strict({}, stop);
    for (const std::string& bad : {url, std::string("s3://b?endpoint=http://s3.example.org"),
                                   std::string("s3://b?endpoint=https://127.0.0.1"), std::string("nonsense")})
        CHECK(code_of([&] { strict.at({bad, {}}); }) == ExitCode::input);
    CHECK(strict.stats().bytes_down == 0);
}
