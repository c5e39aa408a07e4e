// A client that knows nothing but sockets, and requests signed with the server's own arithmetic (which the
// vectors check): how the server itself is tested.
#pragma once

#include "base/sha256.h"
#include "tests/system/s3_server.h"
#include "tests/system/s3_server_auth.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

namespace templar::s3test {

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

inline std::string timestamp(int64_t unix_s) {
    const std::time_t seconds = unix_s;
    std::tm fields{};
    ::gmtime_r(&seconds, &fields);
    char text[40];
    std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &fields);
    return text;
}

inline const Key full{"FULLKEY", "full-secret"}, reader{"READKEY", "read-secret", {}, true};

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
inline std::string signed_request(const Server& server, const Ask& ask) {
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

inline Answer ask(const Server& server, const Ask& question) {
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

}  // namespace templar::s3test
