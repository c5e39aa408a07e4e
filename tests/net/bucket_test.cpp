#include "net/bucket/bucket.h"

#include "tests/net/error_code.h"
#include "tests/net/scratch.h"

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

using namespace templar;

namespace {

constexpr int64_t plenty = 1 << 20;

std::string keys(const std::vector<ObjectInfo>& objects) {
    std::string text;
    for (const ObjectInfo& object : objects) text += object.key + " ";
    return text;
}

std::string text_of(Bucket& bucket, const std::string& key) {
    const auto bytes = bucket.get(key, plenty);
    return bytes ? std::string(as_text(*bytes)) : "(none)";
}

}  // namespace

TEST_CASE("bucket: put, get, head, range, remove") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url() + "/new/", {.create = true});
    CHECK(bucket->url() == folder.url() + "/new");
    CHECK_FALSE(bucket->get("a/b/c", plenty));
    CHECK_FALSE(bucket->head("a/b/c"));
    CHECK_FALSE(bucket->get_range("a/b/c", 0, 1));
    bucket->remove("a/b/c");

    bucket->put("a/b/c", as_bytes("0123456789"));
    CHECK(text_of(*bucket, "a/b/c") == "0123456789");
    CHECK(bucket->head("a/b/c")->size == 10);
    CHECK(bucket->head("a/b/c")->modified_ms > 1'700'000'000'000);
    bucket->put("a/b/c", as_bytes("abc"));
    CHECK(text_of(*bucket, "a/b/c") == "abc");
    CHECK(as_text(*bucket->get_range("a/b/c", 1, 2)) == "bc");
    CHECK(bucket->get_range("a/b/c", 3, 0)->empty());
    for (auto [offset, length] :
         {std::pair<int64_t, int64_t>{1, 3}, {4, 0}, {-1, 1}, {0, -1}, {INT64_MAX, INT64_MAX}})
        CHECK(code_of([&] { bucket->get_range("a/b/c", offset, length); }) == ExitCode::input);

    CHECK(bucket->get("a/b/c", 3));
    CHECK(code_of([&] { bucket->get("a/b/c", 2); }, "expected at most 2") == ExitCode::input);

    CHECK_FALSE(bucket->create("a/b/c", as_bytes("x")));
    CHECK(text_of(*bucket, "a/b/c") == "abc");
    bucket->remove("a/b/c");
    CHECK(bucket->create("a/b/c", {}));
    CHECK(text_of(*bucket, "a/b/c").empty());
}

TEST_CASE("bucket: keys that are none are refused everywhere") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    const std::string long_key = std::string(255, 'a') + "/" + std::string(255, 'b') + "/c";
    for (const std::string& key :
         {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"), std::string("."),
          std::string(".."), std::string("a/../b"), std::string("a/./b"), std::string(".hidden"),
          std::string("a/.b"), std::string("a b"), std::string("a\\b"), std::string("ä"),
          std::string("a\0b", 3), std::string("a\nb"), std::string("a*"), long_key}) {
        CAPTURE(key);
        CHECK(code_of([&] { bucket->get(key, plenty); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->head(key); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->get_range(key, 0, 0); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->create(key, {}); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->put(key, {}); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->remove(key); }) == ExitCode::input);
    }
    CHECK(code_of([&] { bucket->list("../"); }) == ExitCode::input);
    const std::string longest = long_key.substr(0, 510) + "bc";
    CHECK(code_of([&] { bucket->put(longest, {}); }) ==
          ExitCode::storage);  // a name of 256: the disk's own limit
    bucket->put(long_key.substr(0, 511), as_bytes("x"));
    CHECK(bucket->list("").size() == 1);
}

TEST_CASE("bucket: list is ordered by key, with prefix, start and limit") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    for (const char* key : {"a/b", "a-b", "a.b", "a0", "a/b.c/d", "b/1", "b/2", "b/3/x", "b/3/y", "c"})
        bucket->put(key, {});
    std::ofstream(folder / ".a.tmp") << "x";
    std::ofstream(folder / "white space") << "x";
    std::filesystem::create_symlink("/etc", folder / "link");
    std::filesystem::create_symlink("/etc/passwd", folder / "passwd");
    std::filesystem::create_directory(folder / "empty");
    CHECK(keys(bucket->list("")) == "a-b a.b a/b a/b.c/d a0 b/1 b/2 b/3/x b/3/y c ");
    CHECK(keys(bucket->list("a")) == "a-b a.b a/b a/b.c/d a0 ");
    CHECK(keys(bucket->list("a/")) == "a/b a/b.c/d ");
    CHECK(keys(bucket->list("b/3/")) == "b/3/x b/3/y ");
    CHECK(keys(bucket->list("b/", "b/2")) == "b/3/x b/3/y ");
    CHECK(keys(bucket->list("b/", "b/3/x")) == "b/3/y ");
    CHECK(keys(bucket->list("b/", "", 2)) == "b/1 b/2 ");
    CHECK(keys(bucket->list("", "a/b", 3)) == "a/b.c/d a0 b/1 ");
    CHECK(keys(bucket->list("b/", "b/2", 1)) == "b/3/x ");
    CHECK(bucket->list("none/at/all").empty());
    CHECK(bucket->list("", "", 0).empty());
    // Page after page gives what one listing gives.
    std::string all, last;
    for (;;) {
        const auto page = bucket->list("", last, 3);
        if (page.empty()) break;
        all += keys(page);
        last = page.back().key;
    }
    CHECK(all == keys(bucket->list("")));
}

TEST_CASE("bucket: with a clock, objects carry its time") {
    Scratch folder;
    VirtualClock clock(1'500'000'000'123);
    const auto bucket = open_bucket(folder.url(), {.clock = &clock});
    bucket->put("a", {});
    CHECK(bucket->head("a")->modified_ms == 1'500'000'000'123);
    clock.sleep_until(1'500'000'084'456, std::atomic<bool>{false});
    bucket->create("b", {});
    bucket->put("a", {});
    for (const ObjectInfo& object : bucket->list("")) CHECK(object.modified_ms == 1'500'000'084'456);
}

TEST_CASE("bucket: what is no regular file is refused, and never waited for") {
    Scratch folder, outside;
    const auto bucket = open_bucket(folder.url());
    std::ofstream(outside / "secret") << "secret";
    std::filesystem::create_symlink(outside / "secret", folder / "link");
    std::filesystem::create_symlink(outside / "nothing", folder / "dangling");
    std::filesystem::create_symlink(outside.path(), folder / "out");
    std::filesystem::create_directory(folder / "inner");
    std::filesystem::create_symlink(folder / "inner", folder / "round");
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0644) == 0);
    const int socket_fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{AF_UNIX, {}};
    std::strncpy(address.sun_path, (folder / "socket").c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::close(socket_fd);
    bucket->put("file", as_bytes("x"));

    for (const char* key :
         {"link", "dangling", "out", "out/secret", "inner", "round/x", "pipe", "socket", "file/below"}) {
        CAPTURE(key);
        CHECK(code_of([&] { bucket->get(key, plenty); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->head(key); }) == ExitCode::input);
        CHECK(code_of([&] { bucket->get_range(key, 0, 1); }) == ExitCode::input);
    }
    CHECK(code_of([&] { bucket->put("out/new", as_bytes("x")); }) == ExitCode::input);
    CHECK(code_of([&] { bucket->create("out/new", as_bytes("x")); }) == ExitCode::input);
    CHECK(code_of([&] { bucket->remove("out/secret"); }) == ExitCode::input);
    CHECK(std::filesystem::exists(outside / "secret"));
    CHECK_FALSE(std::filesystem::exists(outside / "new"));
    CHECK(code_of([&] { bucket->remove("inner"); }) == ExitCode::storage);
    // A link is no object that create() could take for its own, and put() replaces the link, not what it
    // points to.
    CHECK_FALSE(bucket->create("dangling", as_bytes("x")));
    bucket->put("link", as_bytes("mine"));
    CHECK(text_of(*bucket, "link") == "mine");
    CHECK(std::filesystem::file_size(outside / "secret") == 6);
    CHECK(keys(bucket->list("")) == "file link ");
}

TEST_CASE("bucket: of eight writers of one key exactly one wins, and readers see whole objects only") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    constexpr int writers = 8, rounds = 100;
    std::vector<std::atomic<int>> wins(rounds);
    std::vector<std::atomic<int>> winner(rounds);
    std::atomic<bool> done{false};
    std::atomic<int> broken{0}, seen{0};
    auto object = [](int writer) { return Bytes(20'000, static_cast<uint8_t>('a' + writer)); };
    auto key = [](int round) { return "race/" + std::to_string(round) + "/object"; };
    std::thread reader([&] {
        for (int round = 0; !done; round = (round + 1) % rounds) {
            const auto bytes = bucket->get(key(round), plenty);
            if (!bytes) continue;
            ++seen;
            if (*bytes != Bytes(20'000, bytes->empty() ? 0 : bytes->front())) ++broken;
        }
    });
    std::vector<std::thread> threads;
    for (int writer = 0; writer < writers; ++writer)
        threads.emplace_back([&, writer] {
            for (int round = 0; round < rounds; ++round)
                if (bucket->create(key(round), object(writer))) {
                    ++wins[round];
                    winner[round] = writer;
                }
        });
    for (auto& thread : threads) thread.join();
    done = true;
    reader.join();
    CHECK(broken == 0);
    for (int round = 0; round < rounds; ++round) {
        CHECK(wins[round] == 1);
        CHECK(bucket->get(key(round), plenty) == object(winner[round]));
    }
    CHECK(bucket->list("race/").size() == rounds);
}

TEST_CASE("bucket: a full disk is an error, and nothing half-written appears") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    bucket->put("old", as_bytes("old"));
    const pid_t child = ::fork();
    if (child == 0) {
        // A limit on the file size stands for the full disk.
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{1000, 1000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int failures = 0;
        for (const bool replace : {true, false}) try {
                replace ? bucket->put("old", Bytes(5000)) : void(bucket->create("new", Bytes(5000)));
            } catch (const Error& error) {
                failures += error.code() == ExitCode::storage;
            }
        ::_exit(failures);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 2);
    CHECK(text_of(*bucket, "old") == "old");
    CHECK_FALSE(bucket->head("new"));
    const auto files = std::filesystem::directory_iterator(folder.path());
    CHECK(std::distance(begin(files), end(files)) == 1);  // no temporary file is left either
}

TEST_CASE("bucket: URLs that cannot be opened say what to do") {
    Scratch folder;
    CHECK(code_of([] { open_bucket("http://x/", {.create = true}); }, "file:///absolute/folder") ==
          ExitCode::usage);
    CHECK(code_of([] { open_bucket("/tmp/x", {.create = true}); }, "file:///absolute/folder") ==
          ExitCode::usage);
    CHECK(code_of([] { open_bucket("", {.create = true}); }) == ExitCode::usage);
    CHECK(code_of([] { open_bucket("file://relative/x", {.create = true}); }, "absolute folder") ==
          ExitCode::usage);
    CHECK(code_of([&] { open_bucket(folder.url() + "/missing"); }, "create the folder first") ==
          ExitCode::storage);
    std::ofstream(folder / "file") << "x";
    CHECK(code_of([&] { open_bucket(folder.url() + "/file"); }, "expected a folder") == ExitCode::storage);
    CHECK(code_of([&] { open_bucket(folder.url() + "/file/below", {.create = true}); }) == ExitCode::storage);
}

TEST_CASE("bucket: fetch wants exactly so many bytes, and the check decides") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    bucket->put("key", as_bytes("0123456789"));
    CHECK_FALSE(bucket->fetch("none", 10));
    for (const int64_t bytes : {0, 9, 11})
        CHECK(code_of([&] { bucket->fetch("key", bytes); }, "expected exactly") == ExitCode::input);
    const auto object = bucket->fetch("key", 10);
    CHECK(as_text(object->bytes) == "0123456789");
    CHECK(object->modified_ms == bucket->head("key")->modified_ms);

    // What is damaged is read once more, and given up when it stays so.
    int calls = 0;
    const auto bad_until = [&](int good) {
        calls = 0;
        return [&calls, good](ByteSpan bytes, ByteRange arrived) {
            CHECK(arrived == ByteRange{0, 10});
            CHECK(bytes.size() == 10);
            return ++calls < good ? std::vector<ByteRange>{{3, 5}} : std::vector<ByteRange>{};
        };
    };
    CHECK(bucket->fetch("key", 10, 0, bad_until(1)));
    CHECK(calls == 1);
    CHECK(bucket->fetch("key", 10, 0, bad_until(2)));
    CHECK(calls == 2);
    CHECK(code_of([&] { bucket->fetch("key", 10, 0, bad_until(100)); }, "[3, 5)") == ExitCode::input);
    CHECK(code_of(
              [&] {
                  bucket->fetch("key", 10, 0, [](ByteSpan, ByteRange) -> std::vector<ByteRange> {
                      fail(ExitCode::input, "no such header");
                  });
              },
              "no such header") == ExitCode::input);
    bucket->put("nothing", {});
    CHECK(bucket->fetch("nothing", 0)->bytes.empty());
}

TEST_CASE("bucket: of many objects each has its own end") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    bucket->put("a", as_bytes("abc"));
    bucket->put("long", Bytes(100));
    std::filesystem::create_symlink("/etc/passwd", folder / "link");
    const std::vector<GetResult> results = bucket->get_many({"none", "a", "long", "link", "../a", "a"}, 10);
    REQUIRE(results.size() == 6);
    CHECK((!results[0].object && !results[0].error));
    CHECK(as_text(results[1].object->bytes) == "abc");
    CHECK(results[1].object->modified_ms == bucket->head("a")->modified_ms);
    for (const size_t i : {2, 3, 4}) {
        CHECK_FALSE(results[i].object);
        CHECK(results[i].error->code() == ExitCode::input);
    }
    CHECK(results[5].object);
    CHECK(bucket->get_many({}, 10).empty());
}

TEST_CASE("bucket: a stranger's URL opens what the rules allow, and its faults are the stranger's") {
    Scratch folder;
    const S3Credentials key{"id", "secret", ""};
    CHECK(open_peer_bucket(folder.url(), {}, {.allow_file = true}));
    const std::string there = "s3://bucket?endpoint=https://s3.example.com";
    CHECK(open_peer_bucket(there, key, {})->url().starts_with(there));
    CHECK(open_peer_bucket(there, {}, {}));
    CHECK(open_peer_bucket("s3://bucket?endpoint=http://127.0.0.1:9000", key,
                           {.allow_http = true, .allow_private = true}));
    for (const std::string& url :
         {folder.url(), std::string(), std::string("http://s3.example.com/bucket"), std::string("s3://"),
          std::string("s3://bucket"), there + "&profile=default", there + "&x=y",
          std::string("s3://bucket?endpoint=http://s3.example.com"),
          std::string("s3://bucket?endpoint=https://127.0.0.1:9000"),
          std::string("s3://bucket?endpoint=https://169.254.169.254"),
          std::string("s3://bucket?endpoint=https://[::1]:9000"),
          std::string("s3://bucket?endpoint=https://localhost"),
          std::string("s3://bucket?endpoint=https://user:pass@s3.example.com"),
          std::string("s3://bucket?endpoint=https://s3.example.com:22"),
          std::string("s3://bucket?endpoint=https://evil.r2.cloudflarestorage.com"),
          std::string("s3://bucket\x1b[2J?endpoint=https://s3.example.com")}) {
        CAPTURE(url);
        try {
            open_peer_bucket(url, key, {});
            FAIL_CHECK("expected an error");
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::input);
            CHECK(std::string_view(error.what()).find('\x1b') == std::string_view::npos);
            CHECK(std::string_view(error.what()).find("pass") == std::string_view::npos);
        }
    }
    CHECK(code_of([] { open_peer_bucket("file://relative", {}, {.allow_file = true}); }) == ExitCode::input);
}
