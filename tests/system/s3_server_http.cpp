#include "tests/system/s3_server_http.h"

#include <fmt/core.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

namespace templar::s3test {
namespace {

constexpr size_t longest_head = 64 * 1024;
constexpr int64_t longest_body = 1 << 30;

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::string trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    return std::string(text);
}

std::string percent_decoded(std::string_view text, bool plus_is_blank) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        const bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                            hex_digit(text[i + 2]) >= 0;
        if (escape) {
            result += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            result += text[i] == '+' && plus_is_blank ? ' ' : text[i];
        }
    }
    return result;
}

std::string percent_encoded(std::string_view text, bool keep_slash) {
    std::string result;
    for (const char c : text) {
        const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash);
        if (plain)
            result += c;
        else
            result += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
    return result;
}

HeaderLines query_parameters(std::string_view query) {
    HeaderLines result;
    while (!query.empty()) {
        const std::string_view part = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(query.size(), part.size() + 1));
        if (part.empty()) continue;
        const size_t equals = std::min(part.find('='), part.size());
        result.emplace_back(percent_decoded(part.substr(0, equals), true),
                            percent_decoded(part.substr(std::min(part.size(), equals + 1)), true));
    }
    return result;
}

bool Request::has(std::string_view name) const {
    return std::any_of(lines.begin(), lines.end(), [&](const auto& line) { return line.first == name; });
}

std::string Request::header(std::string_view name) const {
    for (const auto& [line, value] : lines)
        if (line == name) return trimmed(value);
    return {};
}

std::optional<int64_t> Request::content_length() const {
    const std::string text = header("content-length");
    int64_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc() || end != text.data() + text.size() || length < 0) return std::nullopt;
    return length;
}

std::optional<Request> parse_request_head(std::string_view head) {
    Request request;
    request.head = head;
    const size_t line_end = head.find("\r\n");
    const std::string_view line = head.substr(0, line_end);
    const size_t first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || last <= first || line.substr(last + 1) != "HTTP/1.1")
        return std::nullopt;
    request.method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, last - first - 1);
    if (!target.starts_with('/') || target.find(' ') != std::string_view::npos) return std::nullopt;
    request.path = target.substr(0, target.find('?'));
    request.query = target.substr(std::min(target.size(), request.path.size() + 1));
    if (line_end == std::string_view::npos) return request;
    head.remove_prefix(line_end + 2);
    while (!head.empty() && !head.starts_with("\r\n")) {
        const size_t end = head.find("\r\n");
        const std::string_view field = head.substr(0, end);
        const size_t colon = field.find(':');
        if (colon == std::string_view::npos || colon == 0) return std::nullopt;
        request.lines.emplace_back(lower(field.substr(0, colon)), field.substr(colon + 1));
        head.remove_prefix(end == std::string_view::npos ? head.size() : end + 2);
    }
    return request;
}

void Response::set(const std::string& name, const std::string& value) {
    const auto same = [&](const auto& header) { return lower(header.first) == lower(name); };
    headers.erase(std::remove_if(headers.begin(), headers.end(), same), headers.end());
    if (!value.empty()) headers.emplace_back(name, value);
}

std::string status_line(int status) {
    const char* phrase = status == 200   ? "OK"
                         : status == 204 ? "No Content"
                         : status == 206 ? "Partial Content"
                         : status == 304 ? "Not Modified"
                         : status < 400  ? "Redirect"
                         : status < 500  ? "Client Error"
                                         : "Server Error";
    return fmt::format("HTTP/1.1 {} {}\r\n", status, phrase);
}

Connection::~Connection() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

bool Connection::receive() {
    char block[64 * 1024];
    const ssize_t count = ::recv(descriptor_, block, sizeof block, 0);
    if (count <= 0) return false;
    buffer_.append(block, static_cast<size_t>(count));
    return true;
}

std::optional<Request> Connection::read_head() {
    size_t searched = 0;
    for (;;) {
        const size_t end = buffer_.find("\r\n\r\n", searched);
        if (end != std::string::npos) {
            std::optional<Request> request = parse_request_head(std::string_view(buffer_).substr(0, end + 4));
            buffer_.erase(0, end + 4);
            return request;
        }
        searched = buffer_.size() < 3 ? 0 : buffer_.size() - 3;
        if (buffer_.size() > longest_head || !receive()) return std::nullopt;
    }
}

bool Connection::read_body(Request& request) {
    const int64_t length = request.content_length().value_or(0);
    if (length > longest_body) return false;
    const size_t at_hand = std::min(buffer_.size(), static_cast<size_t>(length));
    request.body.resize(static_cast<size_t>(length));
    std::copy_n(buffer_.begin(), at_hand, request.body.begin());
    buffer_.erase(0, at_hand);
    for (size_t done = at_hand; done < request.body.size();) {
        const ssize_t count = ::recv(descriptor_, request.body.data() + done, request.body.size() - done, 0);
        if (count <= 0) return false;
        done += static_cast<size_t>(count);
    }
    return true;
}

bool Connection::send_all(std::string_view bytes, int64_t per_s, int64_t* sent) {
    constexpr int64_t slices_per_s = 20;
    while (!bytes.empty()) {
        size_t slice = bytes.size();
        if (per_s > 0)
            slice = std::min(slice, static_cast<size_t>(std::max<int64_t>(1, per_s / slices_per_s)));
        const ssize_t count = ::send(descriptor_, bytes.data(), slice, MSG_NOSIGNAL);
        if (count <= 0) return false;
        if (sent) *sent += count;
        bytes.remove_prefix(static_cast<size_t>(count));
        if (per_s > 0 && !bytes.empty() && !silence(std::max<int64_t>(1, 1000 * count / per_s))) return false;
    }
    return true;
}

bool Connection::silence(int64_t ms) {
    pollfd watched{descriptor_, POLLRDHUP, 0};
    return ::poll(&watched, 1, ms == 0 ? -1 : static_cast<int>(ms)) == 0;
}

bool Connection::send(const Plan& plan, int64_t& sent) {
    constexpr int64_t most_endless = 1 << 30;
    if (plan.silence_before_ms >= 0 && !silence(plan.silence_before_ms)) return false;
    if (!send_all(plan.head, plan.head_per_s, nullptr)) return false;
    if (!send_all(as_text(plan.body), plan.body_per_s, &sent)) return false;
    if (!send_all(plan.surplus, plan.body_per_s, &sent)) return false;
    for (int64_t total = 0; !plan.endless.empty() && total < most_endless;) {
        if (!send_all(plan.endless, plan.body_per_s, &sent)) return false;
        total += static_cast<int64_t>(plan.endless.size());
    }
    if (plan.silence_after_ms >= 0 && !silence(plan.silence_after_ms)) return false;
    if (plan.ending == Ending::reset) end_abruptly();
    return plan.ending == Ending::keep;
}

void Connection::end_abruptly() {
    const linger abrupt{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
}

void Connection::interrupt() {
    ::shutdown(descriptor_, SHUT_RDWR);
}

}  // namespace templar::s3test
