// An S3 service that answers what a test says, and clients in a hurry to ask it.
#pragma once

#include "net/s3/client.h"
#include "tests/net/scripted_server.h"

#include <ctime>

namespace templar {

struct AskedOfS3 {
    std::string method, target, body;
    std::string head;  // all of it
    // Of the first header of this name; "" when there is none.
    std::string header(std::string_view name) const {
        const std::string line = fmt::format("\r\n{}: ", name);
        for (size_t at = 0; at + line.size() < head.size(); ++at)
            if (strncasecmp(head.data() + at, line.data(), line.size()) == 0)
                return head.substr(at + line.size(), head.find("\r\n", at + 2) - at - line.size());
        return "";
    }
    bool asks(std::string_view part) const { return target.find(part) != std::string::npos; }
};

inline std::string http_date(int64_t unix_s) {
    const std::time_t time = unix_s;
    std::tm utc{};
    gmtime_r(&time, &utc);
    char text[64];
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    return text;
}

constexpr int64_t object_time_s = 1'700'000'000;

// `headers`: lines that end in "\r\n".
inline std::string s3_answer(int status, std::string_view body = "", std::string_view headers = "") {
    std::string text =
        fmt::format("HTTP/1.1 {} X\r\nLast-Modified: {}\r\n{}", status, http_date(object_time_s), headers);
    if (headers.find("Content-Length") == std::string_view::npos)
        text += fmt::format("Content-Length: {}\r\n", body.size());
    return text + "\r\n" + std::string(body);
}
inline std::string s3_error(int status, std::string_view code, std::string_view message = "",
                            std::string_view headers = "") {
    return s3_answer(
        status, fmt::format("<Error><Code>{}</Code><Message>{}</Message></Error>", code, message), headers);
}

inline const S3Credentials test_key{"AKIDEXAMPLE", "a-very-secret-key", "a-session-token"};

// In a hurry: what takes a minute in the field is over in a second.
inline S3Policy hasty_policy() {
    return {.get_part_bytes = 1000,
            .put_part_bytes = 1000,
            .multipart_bytes = 3000,
            .budget_ms = 3'000,
            .stall_ms = 1'000,
            .first_pause_ms = 2,
            .longest_pause_ms = 20};
}

class ScriptedS3 {
  public:
    // The answer to a request, and how many came before it; "" ends the connection without one. One call at a
    // time.
    using Answer = std::function<std::string(const AskedOfS3&, size_t before)>;
    explicit ScriptedS3(Answer answer)
        : answer_(std::move(answer)), server_([this](Peer& peer) { serve(peer); }) {}

    S3Client client(const S3Policy& policy = hasty_policy(), const S3Credentials& key = test_key,
                    const std::atomic<bool>* stop = nullptr) const {
        const auto transport =
            std::make_shared<Transport>(Transport::Rules{.allow_http = true, .allow_private = true});
        return {transport, parse_s3_url("s3://bucket?endpoint=" + origin()), key, policy, stop};
    }
    std::string origin() const { return fmt::format("http://127.0.0.1:{}", server_.port()); }
    std::vector<AskedOfS3> asked() const {
        std::lock_guard lock(mutex_);
        return asked_;
    }
    size_t requests() const { return asked().size(); }

  private:
    void serve(Peer& peer) {
        for (std::string text; !(text = peer.read_request()).empty();) {
            AskedOfS3 asked;
            asked.method = text.substr(0, text.find(' '));
            asked.target =
                text.substr(asked.method.size() + 1, text.find(" HTTP/") - asked.method.size() - 1);
            asked.head = text.substr(0, text.find("\r\n\r\n") + 2);
            asked.body = text.substr(asked.head.size() + 2);
            std::string answer;
            {
                std::lock_guard lock(mutex_);
                answer = answer_(asked, asked_.size());
                asked_.push_back(std::move(asked));
            }
            if (answer.empty() || !peer.send(answer)) return;
        }
    }

    Answer answer_;
    mutable std::mutex mutex_;
    std::vector<AskedOfS3> asked_;
    ScriptedServer server_;  // its threads use all above
};

}  // namespace templar
