// The program `bucket` as an operator meets it: over a folder, and over an S3 server that misbehaves as told.
#include "base/file.h"
#include "base/sha256.h"
#include "base/temporary_folder.h"
#include "tests/system/s3_server.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

using namespace templar;
using s3test::Server;

namespace {

namespace fs = std::filesystem;

struct Result {
    int code = -1;
    std::string output;  // stdout and stderr
};

// `bucket` with these arguments, as a shell reads them; without keys from this machine's own environment.
Result bucket(const std::string& arguments) {
    const std::string command =
        "env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_PROFILE "
        "-u AWS_SHARED_CREDENTIALS_FILE HOME=/nonexistent '" TEMPLAR_BIN_DIR "/bucket' " +
        arguments + " 2>&1";
    FILE* stream = ::popen(command.c_str(), "r");
    REQUIRE(stream);
    Result result;
    char buffer[4096];
    while (const size_t size = std::fread(buffer, 1, sizeof buffer, stream))
        result.output.append(buffer, size);
    const int status = ::pclose(stream);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// The end of the check's line about `question`.
std::string answer(const Result& result, const std::string& question) {
    const size_t at = result.output.find("\n" + question + "  ");
    if (at == std::string::npos) return "(not asked)";
    const size_t from = result.output.find_first_not_of(' ', at + 1 + question.size());
    return result.output.substr(from, result.output.find('\n', from) - from);
}

std::string hash_line(std::string_view content, const std::string& key) {
    return to_hex(sha256(as_bytes(content))) + "  " + key + "\n";
}

// A folder bucket beside a folder of files.
struct Place {
    TemporaryFolder folder;
    fs::path bucket = folder.path() / "bucket", files = folder.path() / "files";
    std::string url = "file://" + bucket.string();
    Place() {
        fs::create_directory(bucket);
        fs::create_directory(files);
    }
    std::string file(const std::string& name, std::string_view content) const {
        write_file(files / name, as_bytes(content));
        return (files / name).string();
    }
};

// A server with a bucket "run", a key file with an own key and one for reading, and the URL.
struct Service {
    explicit Service(const s3test::Quirks& quirks = {}) : server(quirks) {
        server.add_key({"OWNKEY", "own-secret-0123456789"});
        server.add_key({.id = "READKEY", .secret = "read-secret-0123456789", .read_only = true});
        server.add_bucket("run");
        write_file(keys, as_bytes("[default]\naws_access_key_id = OWNKEY\n"
                                  "aws_secret_access_key = own-secret-0123456789\n"
                                  "[reader]\naws_access_key_id = READKEY\n"
                                  "aws_secret_access_key = read-secret-0123456789\n"
                                  "[wrong]\naws_access_key_id = OWNKEY\naws_secret_access_key = guess\n"));
        ::chmod(keys.c_str(), 0600);
    }
    std::string url(const std::string& more = "", const std::string& prefix = "") const {
        return fmt::format("'s3://run{}?endpoint={}{}' --allow-http --credentials '{}'", prefix,
                           server.origin(), more, keys.string());
    }
    // Keys of what lies in the bucket, by the program's own word.
    std::string listed() const {
        const Result result = bucket("ls " + url());
        CHECK(result.code == 0);
        return result.output;
    }
    Server server;
    TemporaryFolder folder;
    fs::path keys = folder.path() / "keys";
};

}  // namespace

TEST_CASE("bucket teaches by --help and refuses nonsense") {
    const Result help = bucket("--help");
    CHECK(help.code == 0);
    CHECK(contains(help.output, "Exit codes"));
    CHECK(contains(help.output, "bucket check 's3://"));
    for (const char* name : {"ls", "get", "put", "rm", "presign", "check"}) {
        CAPTURE(name);
        const Result command_help = bucket(std::string(name) + " --help");
        CHECK(command_help.code == 0);
        CHECK(contains(command_help.output, "Example:"));
        CHECK(contains(command_help.output, "--credentials"));
        CHECK(bucket(std::string(name) + " file:///tmp --no-such-option").code == 2);
    }
    CHECK(bucket("").code == 2);
    CHECK(bucket("ls").code == 2);
    CHECK(bucket("ls ftp://host").code == 2);
    CHECK(bucket("ls file://relative").code == 2);
    CHECK(bucket("ls file:///no/such/folder").code == 5);
    CHECK(bucket("presign file:///tmp key").code == 2);
    CHECK(bucket("check file:///tmp --read-profile reader").code == 2);
}

TEST_CASE("bucket: a file goes in once, comes out the same, and is gone when removed") {
    const Place place;
    const std::string file = place.file("in.txt", "hello, swarm");
    Result result = bucket(fmt::format("put {} {} notes/1", place.url, file));
    CHECK(result.code == 0);
    CHECK(contains(result.output, hash_line("hello, swarm", "notes/1")));
    CHECK(read_text_file(place.bucket / "notes/1", 100) == "hello, swarm");

    place.file("in.txt", "other");
    result = bucket(fmt::format("put {} {} notes/1", place.url, file));
    CHECK(result.code == 5);
    CHECK(contains(result.output, "--replace"));
    CHECK(read_text_file(place.bucket / "notes/1", 100) == "hello, swarm");
    CHECK(bucket(fmt::format("put {} {} notes/1 --replace", place.url, file)).code == 0);
    CHECK(read_text_file(place.bucket / "notes/1", 100) == "other");

    result = bucket(fmt::format("get {} notes/1 --to {}/out", place.url, place.files.string()));
    CHECK(result.code == 0);
    CHECK(contains(result.output, hash_line("other", "notes/1")));
    CHECK(read_text_file(place.files / "out/notes/1", 100) == "other");

    result = bucket(fmt::format("rm {} notes/1 notes/2", place.url));
    CHECK(result.code == 0);
    CHECK(contains(result.output, "removed  notes/1\nwas not there  notes/2\n"));
    CHECK(!fs::exists(place.bucket / "notes/1"));

    CHECK(bucket(fmt::format("put {} {}/missing x", place.url, place.files.string())).code == 3);
    CHECK(bucket(fmt::format("put {} {} ../x", place.url, file)).code == 3);
    place.file("empty", "");
    CHECK(bucket(fmt::format("put {} {}/empty e", place.url, place.files.string())).code == 0);
    CHECK(bucket(fmt::format("get {} e --discard", place.url)).code == 0);
}

TEST_CASE("bucket ls shows what there is, as much as was asked for") {
    const Place place;
    fs::create_directory(place.bucket / "a");
    for (int i = 0; i < 5; ++i) write_file(place.bucket / fmt::format("a/{}", i), as_bytes("12345"));
    write_file(place.bucket / "b", as_bytes("1"));
    Result result = bucket("ls " + place.url);
    CHECK(result.code == 0);
    CHECK(contains(result.output, "6 objects, 26 bytes"));
    CHECK(result.output.find("a/0") < result.output.find("a/4"));
    CHECK(result.output.find("a/4") < result.output.find("b\n"));
    result = bucket(fmt::format("ls {} a/", place.url));
    CHECK(!contains(result.output, "b\n"));
    result = bucket(fmt::format("ls {} --limit 2", place.url));
    CHECK(contains(result.output, "2 objects, 10 bytes; there are more"));
    CHECK(!contains(result.output, "a/2"));
    CHECK(contains(bucket(fmt::format("ls {} --limit 6", place.url)).output, "6 objects, 26 bytes\n"));
    CHECK(contains(bucket(fmt::format("ls {} --limit 0", place.url)).output, "6 objects"));
    CHECK(bucket(fmt::format("ls {} ../", place.url)).code == 3);
    CHECK(bucket(fmt::format("ls {} --limit -1", place.url)).code == 2);
}

TEST_CASE("bucket get writes many files, all below its folder and none that is there") {
    const Place place;
    std::string keys;
    for (int i = 0; i < 20; ++i) {
        write_file(place.bucket / fmt::format("k{}", i), as_bytes(fmt::format("content {}", i)));
        keys += fmt::format(" k{}", i);
    }
    const std::string out = (place.files / "out").string();
    Result result = bucket(fmt::format("get {} {} k3 --to {}", place.url, keys, out));
    CHECK(result.code == 0);
    size_t last = 0;
    for (int i = 0; i < 20; ++i) {
        CHECK(read_text_file(place.files / "out" / fmt::format("k{}", i), 100) ==
              fmt::format("content {}", i));
        const size_t at = result.output.find(hash_line(fmt::format("content {}", i), fmt::format("k{}", i)));
        CHECK(at != std::string::npos);
        CHECK(at >= last);
        last = at;
    }
    CHECK(contains(result.output, "20 objects"));

    result = bucket(fmt::format("get {} k1 --to {}", place.url, out));
    CHECK(result.code == 5);
    CHECK(contains(result.output, "exists already"));
    CHECK(bucket(fmt::format("get {} k1 --to {} --replace", place.url, out)).code == 0);

    for (const char* key : {"../k1", "/etc/passwd", "a/../../x", ".hidden", "a//b"}) {
        CAPTURE(key);
        CHECK(bucket(fmt::format("get {} k1 '{}' --to {}/other", place.url, key, out)).code == 3);
    }
    CHECK(!fs::exists(place.files / "out/other"));

    fs::create_directory(place.bucket / "d");
    write_file(place.bucket / "d/x", as_bytes("x"));
    fs::create_directory(place.folder.path() / "elsewhere");
    fs::create_directory_symlink(place.folder.path() / "elsewhere", place.files / "out/d");
    CHECK(bucket(fmt::format("get {} d/x --to {}", place.url, out)).code == 3);
    CHECK(fs::is_empty(place.folder.path() / "elsewhere"));

    result = bucket(fmt::format("get {} k1 missing --to {}/third", place.url, out));
    CHECK(result.code == 3);
    CHECK(contains(result.output, "missing"));
    CHECK(bucket(fmt::format("get {} k1", place.url)).code == 2);
    CHECK(bucket(fmt::format("get {} k1 --discard --to {}", place.url, out)).code == 2);
}

TEST_CASE("bucket check: a folder is fit for a run, and clean afterwards") {
    const Place place;
    write_file(place.bucket / "mine", as_bytes("x"));
    const Result result = bucket("check " + place.url);
    CHECK(result.code == 0);
    CHECK(!contains(result.output, "FAILED"));
    for (const char* question : {"write", "clock", "read", "read a range", "write once",
                                 "write once, at once", "replace", "list", "delete"}) {
        CAPTURE(question);
        CHECK(answer(result, question).starts_with("ok:"));
    }
    CHECK(std::distance(fs::directory_iterator(place.bucket), fs::directory_iterator()) == 1);
}

TEST_CASE("bucket over s3: in, out, listed, removed, below a prefix too") {
    const Service service;
    const Place place;
    const std::string content(3 << 20, 'x');
    const std::string file = place.file("big", content);
    for (const char* prefix : {"", "/team/a"}) {
        const std::string url = service.url("", prefix);
        CHECK(bucket(fmt::format("put {} {} k/1", url, file)).code == 0);
        CHECK(bucket(fmt::format("put {} {} k/1", url, place.file("small", "y"))).code == 5);
        const Result result = bucket(fmt::format("get {} k/1 --discard", url));
        CHECK(result.code == 0);
        CHECK(contains(result.output, hash_line(content, "k/1")));
        CHECK(contains(bucket("ls " + url + " k/").output, "1 object, 3.15 MB"));
    }
    CHECK(contains(service.listed(), "team/a/k/1"));
    CHECK(bucket(fmt::format("rm {} k/1 team/a/k/1", service.url())).code == 0);
    CHECK(contains(service.listed(), "0 objects"));
}

TEST_CASE("bucket over s3: keys come from a closed file, and http only when it is said") {
    const Service service;
    CHECK(bucket(fmt::format("ls 's3://run?endpoint={}' --credentials {}", service.server.origin(),
                             service.keys.string()))
              .code == 2);
    CHECK(bucket(fmt::format("ls 's3://run?endpoint={}' --allow-http", service.server.origin())).code == 6);
    const Result wrong = bucket("ls " + service.url("&profile=wrong"));
    CHECK(wrong.code == 5);
    CHECK(contains(wrong.output, "secret access key"));
    const Result missing = bucket("ls " + service.url("&profile=nobody"));
    CHECK(missing.code == 6);
    CHECK(contains(missing.output, "[default] [reader] [wrong]"));
    ::chmod(service.keys.c_str(), 0644);
    const Result open = bucket("ls " + service.url());
    CHECK(open.code == 6);
    CHECK(contains(open.output, "chmod 600"));
}

TEST_CASE("bucket check over s3: own key and read key as they should be") {
    const Service service;
    const Result result = bucket("check " + service.url("&profile=default") + " --read-profile reader");
    INFO(result.output);
    CHECK(result.code == 0);
    CHECK(!contains(result.output, "FAILED"));
    CHECK(!contains(result.output, "secret-"));
    CHECK(contains(answer(result, "clock"), "less than 2 s"));
    CHECK(answer(result, "read key: read").starts_with("ok:"));
    CHECK(answer(result, "read key: write").starts_with("ok: is refused"));
    CHECK(answer(result, "read key: delete").starts_with("ok: is refused"));
    CHECK(answer(result, "read key: list").starts_with("ok: is allowed"));
    CHECK(contains(service.listed(), "0 objects"));
}

TEST_CASE("bucket check over s3 finds what would ruin a run") {
    SUBCASE("a read key that can write") {
        const Service service;
        const Result result = bucket("check " + service.url() + " --read-profile default");
        CHECK(result.code == 5);
        CHECK(answer(result, "read key: write").starts_with("FAILED: this key WRITES"));
        CHECK(answer(result, "read key: delete").starts_with("FAILED: this key DELETES"));
        CHECK(answer(result, "delete").starts_with("ok:"));
        CHECK(contains(service.listed(), "0 objects"));
    }
    SUBCASE("a service that overwrites what is write-once") {
        const Service service({.if_none_match = false});
        const Result result = bucket("check " + service.url());
        CHECK(result.code == 5);
        CHECK(answer(result, "write once").starts_with("FAILED:"));
        CHECK(contains(answer(result, "write once, at once"), "4 concurrent creates 4"));
        CHECK(contains(result.output, "NOT fit"));
        CHECK(contains(service.listed(), "0 objects"));
    }
    SUBCASE("an own key that cannot write: nothing else is tried") {
        const Service service;
        const Result result = bucket("check " + service.url("&profile=reader"));
        CHECK(result.code == 5);
        CHECK(answer(result, "write").starts_with("FAILED:"));
        CHECK(answer(result, "list") == "(not asked)");
    }
    SUBCASE("no such bucket") {
        const Service service;
        const Result result =
            bucket(fmt::format("check 's3://runs?endpoint={}' --allow-http --credentials {}",
                               service.server.origin(), service.keys.string()));
        CHECK(result.code == 5);
        CHECK(result.output.starts_with("sign in              FAILED:"));
        CHECK(contains(result.output, "create the bucket"));
        CHECK(!contains(result.output, "left behind"));
    }
    SUBCASE("a wrong secret") {
        const Service service;
        const Result result = bucket("check " + service.url("&profile=wrong"));
        CHECK(result.code == 5);
        CHECK(result.output.starts_with("sign in              FAILED:"));
        CHECK(answer(result, "write") == "(not asked)");
    }
    SUBCASE("a clock that is wrong is said, and survived") {
        Service service;
        service.server.set_clock_offset(30);
        const Result result = bucket("check " + service.url());
        CHECK(result.code == 0);
        CHECK(contains(answer(result, "clock"), "behind the bucket's"));
    }
    SUBCASE("ranges that are not honoured") {
        Service service;
        service.server.inject({.fault = s3test::Fault::ignore_range, .times = 1000});
        const Result result = bucket("check " + service.url());
        CHECK(result.code == 5);
        CHECK(answer(result, "read a range").starts_with("FAILED:"));
        CHECK(contains(service.listed(), "0 objects"));
    }
    SUBCASE("reads that are refused") {
        Service service;
        service.server.inject({.fault = s3test::Fault::status,
                               .operations = {s3test::Operation::get},
                               .times = 1000,
                               .status = 403,
                               .code = "AccessDenied"});
        const Result result = bucket("check " + service.url());
        CHECK(result.code == 5);
        CHECK(answer(result, "read").starts_with("FAILED:"));
        CHECK(contains(service.listed(), "0 objects"));
    }
}

TEST_CASE("bucket presign: a URL that works without keys, once when it is write-once") {
    const Service service;
    const Place place;
    const auto ticket = [&](const std::string& more) {
        const Result result = bucket(fmt::format("presign {} box/1 {}", service.url("", "/p"), more));
        CHECK(result.code == 0);
        CHECK(!contains(result.output, "own-secret"));
        const size_t at = std::min(result.output.find("http://"), result.output.size());
        return "'" + result.output.substr(at, result.output.find('\n', at) - at) + "'";
    };
    const auto curl = [](const std::string& arguments) {
        const int status =
            std::system(("curl --silent --fail --max-time 20 --output /dev/null " + arguments).c_str());
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    };
    if (std::system("command -v curl >/dev/null") != 0) {
        fmt::print("skipped: no curl\n");
        return;
    }
    const std::string file = place.file("f", "sent by a stranger");
    const std::string put = ticket("--method PUT --create-only --expires 60");
    CHECK(curl(fmt::format("-T {} {}", file, put)) != 0);  // the header is part of the permission
    CHECK(curl(fmt::format("-H 'If-None-Match: *' -T {} {}", file, put)) == 0);
    CHECK(curl(fmt::format("-H 'If-None-Match: *' -T {} {}", file, put)) != 0);
    const auto stored = service.server.find("run", "p/box/1");
    REQUIRE(stored);
    CHECK(as_text(stored->bytes) == "sent by a stranger");
    CHECK(curl(ticket("--method GET")) == 0);
    CHECK(curl("-X DELETE " + ticket("--method GET")) != 0);
    CHECK(bucket("presign " + service.url() + " box/1 --create-only").code == 2);
    CHECK(bucket("presign " + service.url() + " box/1 --expires 604801").code == 2);
    CHECK(bucket("presign " + service.url() + " ../1").code == 3);
}
