// The server's side of HTTP/1.1: one connection, its requests as they arrived, its answers as they are meant
// to go wrong.
#pragma once

#include "base/bytes.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace templar::s3test {

using HeaderLines = std::vector<std::pair<std::string, std::string>>;  // names in lower case, in order

struct Request {
    std::string head;                 // all of it, as it arrived
    std::string method, path, query;  // as they arrived: nothing decoded
    HeaderLines lines;                // values as they arrived, between ':' and the line's end
    Bytes body;

    bool has(std::string_view name) const;
    // The first one's, without blanks around it; "" when there is none.
    std::string header(std::string_view name) const;
    std::optional<int64_t> content_length() const;  // nothing when absent or not a number
};
// Nothing when it is no request.
std::optional<Request> parse_request_head(std::string_view head);

std::string trimmed(std::string_view text);
// %XX undone, and '+' when `plus_is_blank`.
std::string percent_decoded(std::string_view text, bool plus_is_blank);
std::string percent_encoded(std::string_view text, bool keep_slash);
// Decoded names and values in the order they came; a name without '=' has an empty value.
HeaderLines query_parameters(std::string_view query);

struct Response {
    int status = 200;
    HeaderLines headers{};  // beside Content-Length
    std::string text{};     // the body, unless `body` is set
    std::shared_ptr<const void> owner{};
    ByteSpan body{};
    bool close = false;
    ByteSpan content() const { return body.empty() ? as_bytes(text) : body; }
    // Replaces the header, or takes it away when the value is empty.
    void set(const std::string& name, const std::string& value);
};
std::string status_line(int status);

enum class Ending { keep, close, reset };

// What goes over the wire, and how.
struct Plan {
    std::string head;
    ByteSpan body;
    std::string surplus;     // after the body
    int64_t head_per_s = 0;  // 0: at once
    int64_t body_per_s = 0;
    int64_t silence_before_ms = -1, silence_after_ms = -1;  // 0: until the client leaves; -1: none
    std::string endless;  // repeated until the client leaves or 1 GiB is sent
    Ending ending = Ending::keep;
};

class Connection {
  public:
    explicit Connection(int descriptor) : descriptor_(descriptor) {}
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Nothing when the client has left or sends no HTTP.
    std::optional<Request> read_head();
    bool read_body(Request& request);
    // False when the connection is over. `sent` counts the body's bytes.
    bool send(const Plan& plan, int64_t& sent);
    void end_abruptly();  // with a reset, when it is destroyed
    void interrupt();     // from another thread: wakes and ends whatever goes on

  private:
    bool receive();
    bool send_all(std::string_view bytes, int64_t per_s, int64_t* sent);
    bool silence(int64_t ms);  // false when the client left

    int descriptor_;
    std::string buffer_;  // received, not used yet
};

}  // namespace templar::s3test
