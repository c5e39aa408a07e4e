// The server that judges the client is judged first: with plain sockets, by the published signatures.
#include "tests/system/s3_server.h"
#include "tests/system/s3_server_service.h"

#include "base/sha256.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace templar;
using namespace templar::s3test;

namespace {

struct Answer {
    int status = 0;  // 0: none came
    std::string head, body;
    bool complete = false;  // the body is as long as announced
    std::string header(const std::string& name) const {
        const size_t at = head.find("\r\n" + name + ": ");
        if (at == std::string::npos) return {};
        const size_t from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
    std::string code() const {
        const size_t at = body.find("<Code>");
        return at == std::string::npos ? "" : body.substr(at + 6, body.find("</Code>") - at - 6);
    }
};

// A client that knows nothing: a socket.
class Plain {
  public:
    explicit Plain(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    ~Plain() { ::close(socket_); }
    Plain(const Plain&) = delete;
    Plain& operator=(const Plain&) = delete;

    void send(const std::string& bytes) const {
        size_t done = 0;
        while (done < bytes.size()) {
            const ssize_t count = ::send(socket_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
            if (count <= 0) return;
            done += static_cast<size_t>(count);
        }
    }
    // False when the connection has ended or `wait_ms` passed in silence.
    bool receive(int wait_ms) {
        pollfd watched{socket_, POLLIN, 0};
        timed_out = ::poll(&watched, 1, wait_ms) == 0;
        if (timed_out) return false;
        char block[65536];
        const ssize_t count = ::recv(socket_, block, sizeof block, 0);
        was_reset = count < 0;
        if (count > 0) received.append(block, static_cast<size_t>(count));
        return count > 0;
    }
    Answer answer(bool bodiless = false, int wait_ms = 3000) {
        size_t end;
        while ((end = received.find("\r\n\r\n")) == std::string::npos)
            if (!receive(wait_ms)) return {};
        Answer answer;
        answer.head = received.substr(0, end + 2);
        answer.status = std::atoi(answer.head.c_str() + 9);
        received.erase(0, end + 4);
        const size_t length =
            bodiless ? 0 : std::strtoull(answer.header("Content-Length").c_str(), nullptr, 10);
        while (received.size() < length && receive(wait_ms)) {
        }
        answer.complete = received.size() >= length;
        answer.body = received.substr(0, length);
        received.erase(0, answer.body.size());
        return answer;
    }

    std::string received;
    bool was_reset = false, timed_out = false;

  private:
    int socket_;
};

std::string timestamp(int64_t unix_s) {
    const std::time_t seconds = unix_s;
    std::tm fields{};
    ::gmtime_r(&seconds, &fields);
    char text[40];
    std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &fields);
    return text;
}

const Key full{"FULLKEY", "full-secret"}, reader{"READKEY", "read-secret", {}, true};

struct Ask {
    std::string method = "GET", target = "/bucket/key", body{};
    HeaderLines headers{};
    Key key = full;
    std::string payload{};  // x-amz-content-sha256; empty: the body's hash
    int64_t clock_s = 0;    // relative to now
    bool with_length = true;
    std::string region = "auto";
};

// The request as it goes over the wire, signed with the server's own arithmetic (which the vectors check).
std::string signed_request(const Server& server, const Ask& ask) {
    const std::string stamp = timestamp(std::time(nullptr) + ask.clock_s);
    HeaderLines lines = ask.headers;
    lines.emplace_back("host", fmt::format("127.0.0.1:{}", server.port()));
    lines.emplace_back("x-amz-content-sha256",
                       ask.payload.empty() ? to_hex(sha256(as_bytes(ask.body))) : ask.payload);
    lines.emplace_back("x-amz-date", stamp);
    if (!ask.key.session_token.empty()) lines.emplace_back("x-amz-security-token", ask.key.session_token);
    std::sort(lines.begin(), lines.end());
    std::string head = fmt::format("{} {} HTTP/1.1\r\n", ask.method, ask.target), names;
    for (const auto& [name, value] : lines) {
        head += name + ": " + value + "\r\n";
        names += (names.empty() ? "" : ";") + name;
    }
    std::optional<Request> request = parse_request_head(head + "\r\n");
    REQUIRE(request);
    Claim claim;
    claim.key_id = ask.key.id;
    claim.timestamp = stamp;
    claim.date = stamp.substr(0, 8);
    claim.region = ask.region;
    claim.service = "s3";
    claim.signed_headers = names;
    claim.payload = request->header("x-amz-content-sha256");
    const std::string signature =
        signature_of(string_to_sign(canonical_request(*request, claim), claim), ask.key.secret, claim);
    head += fmt::format(
        "Authorization: AWS4-HMAC-SHA256 Credential={}/{}/{}/s3/aws4_request, SignedHeaders={}, "
        "Signature={}\r\n",
        ask.key.id, claim.date, ask.region, names, signature);
    if (ask.with_length && (ask.method == "PUT" || ask.method == "POST"))
        head += fmt::format("Content-Length: {}\r\n", ask.body.size());
    return head + "\r\n" + ask.body;
}

Answer ask(const Server& server, const Ask& question) {
    Plain plain(server.port());
    plain.send(signed_request(server, question));
    return plain.answer(question.method == "HEAD");
}

struct Fixture {
    Server server;

    explicit Fixture(const Quirks& quirks = {.min_part_bytes = 4}) : server(quirks) {
        server.add_key(full);
        server.add_key(reader);
        server.add_bucket("bucket");
    }
    Answer operator()(const Ask& question) const { return ask(server, question); }
    std::string stored(const std::string& key) const {
        const std::optional<Stored> found = server.find("bucket", key);
        return found ? std::string(as_text(found->bytes)) : "(none)";
    }
    std::string begin_upload(const std::string& key) const {
        const Answer begun = (*this)({.method = "POST", .target = "/bucket/" + key + "?uploads="});
        REQUIRE(begun.status == 200);
        const size_t at = begun.body.find("<UploadId>") + 10;
        std::string id = begun.body.substr(at, begun.body.find("</UploadId>") - at);
        id.replace(id.find("&amp;"), 5, "&");
        return percent_encoded(id, false);
    }
    std::string part(const std::string& key, const std::string& id, int number,
                     const std::string& bytes) const {
        const Answer sent =
            (*this)({.method = "PUT",
                     .target = fmt::format("/bucket/{}?partNumber={}&uploadId={}", key, number, id),
                     .body = bytes});
        REQUIRE(sent.status == 200);
        return fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", number,
                           sent.header("ETag"));
    }
    Answer complete(const std::string& key, const std::string& id, const std::string& parts,
                    const HeaderLines& headers = {}) const {
        return (*this)({.method = "POST",
                        .target = "/bucket/" + key + "?uploadId=" + id,
                        .body = "<CompleteMultipartUpload>" + parts + "</CompleteMultipartUpload>",
                        .headers = headers});
    }
};

nlohmann::json signature_vectors() {
    const char* chosen = std::getenv("VECTORS_DIR");
    const std::filesystem::path folder = chosen && *chosen
                                             ? std::filesystem::path(chosen)
                                             : std::filesystem::path(TEMPLAR_SOURCE_DIR) / "tests/vectors";
    std::ifstream stream(folder / "sigv4.json");
    return stream ? nlohmann::json::parse(stream).at("cases") : nlohmann::json::array();
}

// What a client that follows the vector would put on the wire.
std::string request_of(const nlohmann::json& vector) {
    const nlohmann::json& expected = vector.at("expected");
    std::string url = expected.at("url");
    url.erase(0, url.find('/', url.find("://") + 3));
    std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", vector.at("method").get<std::string>(),
                                   url, expected.at("host").get<std::string>());
    for (const auto& header : vector.at("headers"))
        head += fmt::format("{}: {}\r\n", header[0].get<std::string>(), header[1].get<std::string>());
    for (const auto& [name, value] : expected.at("headers").items())
        head += fmt::format("{}: {}\r\n", name, value.get<std::string>());
    return head + "\r\n";
}

}  // namespace

TEST_CASE("the server's reading of a request agrees with every published S3 signature") {
    const nlohmann::json cases = signature_vectors();
    if (cases.empty()) MESSAGE("skipped: no sigv4.json");
    int judged = 0;
    for (const nlohmann::json& vector : cases) {
        if (vector.at("service") != "s3" || vector.at("rule") != "equal") continue;
        INFO(vector.at("id").get<std::string>());
        std::optional<Request> request = parse_request_head(request_of(vector));
        REQUIRE(request);
        std::optional<Refusal> refusal;
        const std::optional<Claim> claim = read_claim(*request, refusal);
        REQUIRE(claim);
        CHECK(!refusal);
        CHECK(canonical_request(*request, *claim) == vector.at("expected").at("canonical_request"));
        const nlohmann::json& credentials = vector.at("credentials");
        Key key{credentials.at("access_key"), credentials.at("secret_key")};
        if (credentials.at("session_token").is_string()) key.session_token = credentials.at("session_token");
        const std::string hex = vector.at("body_hex");
        const Bytes once = from_hex(hex, hex.size() / 2, "body_hex");
        for (int64_t i = 0; i < vector.value("body_repeat", int64_t{1}); ++i)
            request->body.insert(request->body.end(), once.begin(), once.end());
        const Key* signer = nullptr;
        Judge rules{{key}, vector.at("region"), "s3", vector.at("unix_time")};
        refusal = judge(*request, rules, signer);
        INFO((refusal ? refusal->code + ": " + refusal->message : "accepted"));
        // The vectors' Content-MD5 is made up, and judged last.
        CHECK((!refusal || (refusal->code == "BadDigest" && request->has("content-md5"))));
        rules.keys[0].secret += "x";
        CHECK(judge(*request, rules, signer)->code == "SignatureDoesNotMatch");
        ++judged;
    }
    CHECK((cases.empty() || judged >= 40));
}

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

TEST_CASE("who may do what: keys, signatures, clocks, bodies") {
    Fixture service;
    service.server.add_key({"TEMPKEY", "temp-secret", "the token"});
    service.server.add_bucket("open", true);
    service.server.store("bucket", "key", Bytes(1));
    service.server.store("open", "key", Bytes(1));

    CHECK(service({.key = reader}).status == 200);
    CHECK(service({.method = "HEAD", .key = reader}).status == 200);
    CHECK(service({.target = "/bucket?list-type=2", .key = reader}).status == 200);
    CHECK(service({.method = "PUT", .body = "x", .key = reader}).code() == "AccessDenied");
    CHECK(service({.method = "DELETE", .key = reader}).code() == "AccessDenied");
    CHECK(service({.method = "POST", .target = "/bucket/key?uploads", .key = reader}).code() ==
          "AccessDenied");

    CHECK(service({.key = {"NOBODY", "x"}}).code() == "InvalidAccessKeyId");
    CHECK(service({.key = {full.id, "wrong"}}).code() == "SignatureDoesNotMatch");
    CHECK(service({.key = {"TEMPKEY", "temp-secret", "the token"}}).status == 200);
    CHECK(service({.key = {"TEMPKEY", "temp-secret", "another"}}).code() == "InvalidToken");
    CHECK(service({.key = {"TEMPKEY", "temp-secret"}}).code() == "InvalidToken");

    CHECK(service({.clock_s = -14 * 60}).status == 200);
    CHECK(service({.clock_s = -16 * 60}).code() == "RequestTimeTooSkewed");
    CHECK(service({.clock_s = 16 * 60}).code() == "RequestTimeTooSkewed");
    service.server.set_clock_offset(16 * 60);
    CHECK(service({.clock_s = 16 * 60}).status == 200);
    service.server.set_clock_offset(0);

    CHECK(service({.method = "PUT", .body = "x", .payload = "UNSIGNED-PAYLOAD"}).status == 200);
    CHECK(service({.method = "PUT", .body = "x", .payload = to_hex(sha256(as_bytes("y")))}).code() ==
          "XAmzContentSHA256Mismatch");
    const Answer streaming =
        service({.method = "PUT", .body = "x", .payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"});
    CHECK(streaming.status == 501);
    CHECK(streaming.code() == "NotImplemented");
    CHECK(streaming.header("cf-ray").size() > 8);
    CHECK(streaming.body.find("xmlns") == std::string::npos);
    CHECK(service({.method = "PUT", .body = "x", .with_length = false}).status == 411);
    CHECK(
        service({.method = "PUT", .body = "hello", .headers = {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg=="}}})
            .status == 200);
    CHECK(
        service({.method = "PUT", .body = "hullo", .headers = {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg=="}}})
            .code() == "BadDigest");

    std::string tampered = signed_request(service.server, {.headers = {{"range", "bytes=0-0"}}});
    tampered.replace(tampered.find("bytes=0-0"), 9, "bytes=0-9");
    Plain plain(service.server.port());
    plain.send(tampered);
    CHECK(plain.answer().code() == "SignatureDoesNotMatch");
    std::string smuggled = signed_request(service.server, {});
    smuggled.insert(smuggled.find("x-amz-date"), "x-amz-acl: public-read\r\n");
    plain.send(smuggled);
    CHECK(plain.answer().code() == "AccessDenied");
    plain.send("GET /bucket/key HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(plain.answer().code() == "AccessDenied");
    plain.send("GET /open/key HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(plain.answer().status == 200);
    plain.send("DELETE /open/key HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(plain.answer().code() == "AccessDenied");
    CHECK(service.server.counters().connections > 20);

    const Fixture elsewhere({.region = "auto"});
    CHECK(elsewhere({.method = "PUT", .body = "x"}).status == 200);
    CHECK(elsewhere({.region = "eu-west-1"}).code() == "AuthorizationHeaderMalformed");
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

TEST_CASE("faults strike the request they are meant for, as often as they are meant to") {
    Fixture service;
    service.server.store("bucket", "key", Bytes(10, 'x'));
    service.server.store("bucket", "other", Bytes(10, 'x'));
    const int64_t rule = service.server.inject({.fault = Fault::status,
                                                .operations = {Operation::get},
                                                .where = "*/k*y",
                                                .first = 2,
                                                .times = 2,
                                                .status = 429,
                                                .code = "TooManyRequests",
                                                .retry_after = "7"});
    CHECK(service({}).status == 200);
    CHECK(service({.method = "HEAD"}).status == 200);
    CHECK(service({.target = "/bucket/other"}).status == 200);
    const Answer struck = service({});
    CHECK(struck.status == 429);
    CHECK(struck.code() == "TooManyRequests");
    CHECK(struck.header("Retry-After") == "7");
    CHECK(service({}).status == 429);
    CHECK(service({}).status == 200);
    CHECK(service.server.strikes(rule) == 2);
    service.server.inject({.times = 1000});
    CHECK(service({}).status == 503);
    service.server.heal();
    CHECK(service({}).status == 200);

    service.server.inject({.times = 1000, .probability = 0.25, .seed = 5});
    int struck_by_chance = 0;
    for (int i = 0; i < 200; ++i) struck_by_chance += service({}).status == 503;
    CHECK(struck_by_chance > 25);
    CHECK(struck_by_chance < 75);
}

TEST_CASE("every fault does to the wire what it says") {
    Fixture service;
    service.server.store("bucket", "key", Bytes(1000, 'x'));
    const auto with = [&](FaultRule rule) -> Server& {
        service.server.heal();
        service.server.inject(rule);
        return service.server;
    };
    const auto sent = [&](FaultRule rule, const Ask& question = {}) {
        auto plain = std::make_unique<Plain>(with(rule).port());
        plain->send(signed_request(service.server, question));
        return plain;
    };
    const auto drained = [&](FaultRule rule, const Ask& question = {}, int wait_ms = 3000) {
        auto plain = sent(rule, question);
        while (plain->received.size() < 4'000'000 && plain->receive(wait_ms)) {
        }
        return plain;
    };
    SUBCASE("resets") {
        const Ask put{.method = "PUT", .target = "/bucket/new", .body = "body"};
        CHECK(drained({.fault = Fault::reset_before}, put)->was_reset);
        CHECK(drained({.fault = Fault::reset_unstored}, put)->was_reset);
        CHECK(service.stored("new") == "(none)");
        const auto stored = drained({.fault = Fault::reset_stored}, put);
        CHECK(stored->was_reset);
        CHECK(stored->received.empty());
        CHECK(service.stored("new") == "body");
        auto middle = sent({.fault = Fault::reset_middle, .bytes = 100});
        CHECK(!middle->answer().complete);
        CHECK(middle->was_reset);
    }
    SUBCASE("silence and slowness") {
        auto stalled = sent({.fault = Fault::stall});
        CHECK(stalled->answer(false, 100).status == 0);
        CHECK(stalled->timed_out);
        CHECK(sent({.fault = Fault::stall, .ms = 50})->answer().complete);
        auto middle = sent({.fault = Fault::stall_middle, .bytes = 100});
        const Answer half = middle->answer(false, 100);
        CHECK(half.body.size() == 100);
        CHECK(middle->timed_out);
        const auto begun = std::chrono::steady_clock::now();
        CHECK(sent({.fault = Fault::drip, .bytes_per_s = 5000})->answer().complete);
        CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::milliseconds(100));
        CHECK(sent({.fault = Fault::drip_all, .bytes_per_s = 10})->answer(false, 20).status == 0);
    }
    SUBCASE("lengths") {
        auto truncated = sent({.fault = Fault::truncated, .bytes = 300});
        const Answer cut = truncated->answer();
        CHECK(cut.header("Content-Length") == "1000");
        CHECK(cut.body.size() == 700);
        CHECK(!truncated->was_reset);
        const auto lengths = [&](Fault fault) {
            const auto plain = drained({.fault = fault, .bytes = 10}, {}, 50);
            const size_t body = plain->received.find("\r\n\r\n") + 4;
            const size_t announced = plain->received.find("Content-Length: ") + 16;
            return std::pair(std::atoi(plain->received.c_str() + announced),
                             static_cast<int>(plain->received.size() - body));
        };
        CHECK(lengths(Fault::short_length) == std::pair(990, 1000));
        CHECK(lengths(Fault::shorter) == std::pair(990, 990));
        CHECK(lengths(Fault::oversized) == std::pair(1010, 1010));
        CHECK(lengths(Fault::overrun) == std::pair(1000, 1010));
        const auto chunked = drained({.fault = Fault::chunked}, {}, 50);
        CHECK(chunked->received.find("Content-Length") == std::string::npos);
        CHECK(chunked->received.ends_with("xxx\r\n0\r\n\r\n"));
        CHECK(drained({.fault = Fault::endless})->received.size() >= 4'000'000);
        CHECK(drained({.fault = Fault::continues})->received.size() >= 4'000'000);
        CHECK(drained({.fault = Fault::header_bomb, .bytes = 1'000'000}, {}, 50)->received.find("\r\n\r\n") >
              1'000'000);
    }
    SUBCASE("lies") {
        const Ask ranged{.headers = {{"range", "bytes=10-19"}}};
        CHECK(sent({.fault = Fault::header, .name = "ETag", .value = "\"0\""})->answer().header("ETag") ==
              "\"0\"");
        CHECK(sent({.fault = Fault::header, .name = "ETag"})->answer().header("ETag").empty());
        const Answer whole = sent({.fault = Fault::ignore_range}, ranged)->answer();
        CHECK(whole.status == 200);
        CHECK(whole.body.size() == 1000);
        CHECK(sent({.fault = Fault::flip, .bytes = 12}, ranged)->answer().body == "xxyxxxxxxx");
        CHECK(sent({.fault = Fault::flip, .bytes = 20}, ranged)->answer().body == "xxxxxxxxxx");
        const Answer hidden = sent({.fault = Fault::error_in_200, .code = "InternalError"},
                                   {.method = "PUT", .target = "/bucket/new"})
                                  ->answer();
        CHECK(hidden.status == 200);
        CHECK(hidden.code() == "InternalError");
        CHECK(service.stored("new") == "(none)");
        CHECK(drained({.fault = Fault::garbage})->received.find("HTTP") == std::string::npos);
        const Answer away = sent({.fault = Fault::redirect, .value = "http://127.0.0.1:1/"})->answer();
        CHECK(away.status == 307);
        CHECK(away.header("Location") == "http://127.0.0.1:1/");
        CHECK(sent({.fault = Fault::echo})->answer().body.find("Signature=") != std::string::npos);
        CHECK(sent({.fault = Fault::early_status, .status = 500})->answer().status == 500);
    }
    SUBCASE("documents") {
        const Ask list{.target = "/bucket?list-type=2"};
        CHECK(sent({.fault = Fault::list_stuck}, list)
                  ->answer()
                  .body.find("<IsTruncated>true</IsTruncated><Next") != std::string::npos);
        CHECK(sent({.fault = Fault::malformed_xml}, list)->answer().body.ends_with("</L"));
        const Answer bomb =
            sent({.fault = Fault::body, .bytes = 99, .name = "<!DOCTYPE>", .value = "<a>"}, list)->answer();
        CHECK(bomb.body.starts_with("<!DOCTYPE><a><a>"));
        CHECK(bomb.body.size() >= 99);
    }
}
