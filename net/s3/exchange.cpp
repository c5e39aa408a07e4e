#include "net/s3/exchange.h"

#include "net/s3/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>

namespace templar {

namespace {

constexpr int64_t max_header_bytes = 16 * 1024;
constexpr size_t max_headers = 64;
constexpr int max_unsent = 128 * 1024;

std::string address_text(const sockaddr& address) {
    const void* bytes =
        address.sa_family == AF_INET6
            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr)
            : &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(address.sa_family, bytes, text, sizeof text);
    return text;
}

std::string_view trimmed(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

}  // namespace

bool Inbox::post(std::vector<Call*>& list, Call& call) {
    std::lock_guard lock(mutex);
    if (!multi) return false;
    const bool asleep = started.empty() && cancelled.empty();
    list.push_back(&call);
    if (asleep) curl_multi_wakeup(multi);
    return true;
}

void StallGuard::restart(SteadyTime now) {
    moved_[0] = 0;
    count_ = 1;
    next_ = now + step_;
}

bool StallGuard::stalled(SteadyTime now, int64_t moved, int64_t least) {
    int64_t& slot = moved_[static_cast<size_t>(count_ % steps)];
    const bool slow = count_ >= steps && moved - slot < least;
    slot = moved;
    ++count_;
    next_ = now + step_;
    return slow;
}

void Call::cancel() {
    if (!ended()) inbox_->post(inbox_->cancelled, *this);
    wait(SteadyTime::max());
    {
        // It may have ended by itself before the loop has read of this.
        std::lock_guard lock(inbox_->mutex);
        std::erase(inbox_->cancelled, this);
    }
    // The loop may still hold the lock under which it ended this.
    std::lock_guard lock(mutex_);
}

// Looked at here, when the address is about to be connected to, and not when a name is resolved: a stranger's
// name server may answer the check with a public address and the connection, a second later, with 127.0.0.1
// (DNS rebinding). Between this and connect(2) nothing is resolved any more.
curl_socket_t Call::on_open_socket(void* self, curlsocktype, curl_sockaddr* address) {
    Call& call = *static_cast<Call*>(self);
    if (!call.rules_.allow_private && !is_public_address(address->addr)) {
        call.refused_address_ = true;
        call.detail_ = address_text(address->addr) + " is not a public address";
        return CURL_SOCKET_BAD;
    }
    call.opened_socket_ = true;
    const curl_socket_t opened = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    // The kernel would take megabytes of an upload that the peer is far from having: without this the wait
    // for its answer would begin too soon, and nothing would be known of the speed.
    if (opened >= 0) setsockopt(opened, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &max_unsent, sizeof max_unsent);
    return opened;
}

// Called once per connection that the request is given to: a second time when a kept connection turned out to
// be dead.
int Call::on_connected(void* self, char* remote, char*, int, int) {
    Call& call = *static_cast<Call*>(self);
    if (call.connected_) call.response_.resent = true;
    call.connected_ = true;
    if (call.opened_socket_) {
        const bool ipv6 = std::string_view(remote).find(':') != std::string_view::npos;
        call.pins_->try_emplace(call.host_port_, ipv6 ? fmt::format("[{}]", remote) : remote);
    }
    call.enter(call.request_.body.empty() ? Phase::waiting : Phase::sending);
    return CURL_PREREQFUNC_OK;
}

size_t Call::on_header(char* data, size_t, size_t size, void* self) {
    return static_cast<Call*>(self)->take_header_line({data, size}) ? size : 0;
}

size_t Call::on_body(char* data, size_t, size_t size, void* self) {
    return static_cast<Call*>(self)->take_body({data, size}) ? size : 0;
}

size_t Call::on_read(char* to, size_t, size_t room, void* self) {
    Call& call = *static_cast<Call*>(self);
    const auto rest = call.request_.body.subspan(static_cast<size_t>(call.sent_));
    const size_t size = std::min(room, rest.size());
    if (size > 0) std::memcpy(to, rest.data(), size);
    call.sent_ += static_cast<int64_t>(size);
    return size;
}

int Call::on_seek(void* self, curl_off_t offset, int origin) {
    Call& call = *static_cast<Call*>(self);
    if (origin != SEEK_SET || offset < 0 || offset > std::ssize(call.request_.body))
        return CURL_SEEKFUNC_FAIL;
    call.sent_ = offset;
    return CURL_SEEKFUNC_OK;
}

void Call::enter(Phase phase) {
    phase_ = phase;
    guard_.restart(std::chrono::steady_clock::now());
}

bool Call::give_up(NetFault fault, std::string detail) {
    fault_ = fault;
    detail_ = std::move(detail);
    return false;
}

bool Call::take_header_line(std::string_view line) {
    header_bytes_ += std::ssize(line);
    if (header_bytes_ > max_header_bytes)
        return give_up(NetFault::broken, fmt::format("more than {} bytes of headers", max_header_bytes));
    if (phase_ == Phase::receiving) return true;  // a trailer
    if (line.starts_with("HTTP/")) return true;
    if (trimmed(line).empty()) return headers_complete();
    const size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos || line.front() == ' ' || line.front() == '\t')
        return give_up(NetFault::broken, "a header line without a name");
    if (response_.headers.size() == max_headers)
        return give_up(NetFault::broken, fmt::format("more than {} headers", max_headers));
    const std::string_view text = line.substr(0, line.find_last_not_of("\r\n") + 1);
    if (text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos)
        return give_up(NetFault::broken, "a header line with a control character in it");
    response_.headers.emplace_back(lower(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
    return true;
}

// Content-Length, unless the length follows from the transfer's coding; -1 when it makes no sense.
std::optional<int64_t> Call::announced_length() {
    std::optional<int64_t> length;
    for (const auto& [name, value] : response_.headers) {
        if (name == "transfer-encoding") return std::nullopt;
        if (name != "content-length") continue;
        int64_t number = -1;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (error != std::errc() || end != value.data() + value.size() || (length && length != number))
            return -1;
        length = number;
    }
    return length;
}

bool Call::headers_complete() {
    long status = 0;
    curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) {  // informational: the answer is still to come
        response_.headers.clear();
        return true;
    }
    if (status > 599) return give_up(NetFault::broken, "a status that is none");
    enter(Phase::receiving);
    response_.status = static_cast<int>(status);
    for (const auto& [name, value] : response_.headers)
        if (name == "transfer-encoding" && lower(value) != "chunked")  // curl would inflate a gzip
            return give_up(NetFault::broken, "a transfer encoding that was not asked for");
    const bool has_body = request_.method != "HEAD" && status != 204 && status != 304;
    filling_ = has_body && request_.into.data() && (status == 200 || status == 206);
    const auto announced = announced_length();
    if (announced && *announced < 0) return give_up(NetFault::broken, "a Content-Length that is none");
    if (filling_ && announced && *announced != std::ssize(request_.into))
        return give_up(*announced > std::ssize(request_.into) ? NetFault::too_long : NetFault::broken,
                       fmt::format("expected {} bytes, announced {}", request_.into.size(), *announced));
    if (has_body && !filling_ && announced) {
        if (status < 300 && *announced > request_.max_body)
            return give_up(NetFault::too_long, fmt::format("expected at most {} bytes, announced {}",
                                                           request_.max_body, *announced));
        response_.body.reserve(static_cast<size_t>(std::min(*announced, request_.max_body)));
    }
    reach(Stage::headers);
    return true;
}

bool Call::take_body(std::string_view data) {
    const int64_t size = std::ssize(data);
    received_ += size;
    if (filling_) {
        if (size > std::ssize(request_.into) - response_.into_bytes)
            return give_up(NetFault::too_long,
                           fmt::format("expected {} bytes, received more", request_.into.size()));
        std::memcpy(request_.into.data() + response_.into_bytes, data.data(), data.size());
        response_.into_bytes += size;
        return true;
    }
    const int64_t room = request_.max_body - std::ssize(response_.body);
    if (size > room && response_.status < 300)
        return give_up(NetFault::too_long,
                       fmt::format("expected at most {} bytes, received more", request_.max_body));
    response_.body.append(data.substr(0, static_cast<size_t>(std::min(size, room))));
    cut_ = size > room;
    return !cut_;
}

NetFault Call::fault_now(SteadyTime now) {
    if (now >= request_.deadline) return NetFault::deadline;
    if (!under_way || now < guard_.next()) return NetFault::none;
    const int64_t least = std::max<int64_t>(request_.min_bytes_per_s * request_.stall_ms / 1000, 1);
    bool slow = false;
    switch (phase_) {
        case Phase::connecting:
            guard_.restart(now);
            break;  // curl's connect time-out is at work
        case Phase::sending: {
            curl_off_t sent = 0;
            curl_easy_getinfo(handle_.get(), CURLINFO_SIZE_UPLOAD_T, &sent);
            if (sent < std::ssize(request_.body))
                slow = guard_.stalled(now, sent, least);
            else
                enter(Phase::waiting);
            break;
        }
        // Headers that drip in are no progress: the answer is there within the window or it is not.
        case Phase::waiting:
            slow = guard_.stalled(now, 0, 1);
            break;
        case Phase::receiving:
            slow = guard_.stalled(now, received_, least);
            break;
    }
    return slow ? NetFault::stalled : NetFault::none;
}

std::string Call::describe_wait() const {
    if (!under_way) return "waited for a free connection";
    switch (phase_) {
        case Phase::connecting:
            return "was connecting";
        case Phase::sending:
            return fmt::format("had sent {} of {} bytes", sent_, request_.body.size());
        case Phase::waiting:
            return "waited for the answer";
        case Phase::receiving:
            return fmt::format("had received {} bytes of the body", received_);
    }
    return "";
}

NetFault Call::fault_of(CURLcode code) const {
    curl_off_t resolved_us = 0;
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_URL_MALFORMAT:
            return NetFault::address;
        // Also what curl says of an answer that is not HTTP.
        case CURLE_UNSUPPORTED_PROTOCOL:
            return connected_ ? NetFault::broken : NetFault::address;
        case CURLE_COULDNT_CONNECT:
            return refused_address_ && !opened_socket_ ? NetFault::address : NetFault::connect;
        case CURLE_OPERATION_TIMEDOUT:
            curl_easy_getinfo(handle_.get(), CURLINFO_NAMELOOKUP_TIME_T, &resolved_us);
            return resolved_us == 0 ? NetFault::address : NetFault::connect;
        default:
            return connected_ ? NetFault::broken : NetFault::connect;
    }
}

void Call::complete(CURLcode code) {
    if (fault_ != NetFault::none) return end(fault_, std::move(detail_));
    if (code != CURLE_OK && !cut_) {
        const NetFault fault = fault_of(code);
        if (fault == NetFault::address && refused_address_) return end(fault, std::move(detail_));
        return end(fault, error_text_[0] ? error_text_.data() : curl_easy_strerror(code));
    }
    if (stage_.load(std::memory_order_relaxed) != Stage::headers) return end(NetFault::broken, "no answer");
    if (filling_ && response_.into_bytes != std::ssize(request_.into))
        return end(NetFault::broken,
                   fmt::format("expected {} bytes, received {}", request_.into.size(), response_.into_bytes));
    end(NetFault::none, "");
}

void Call::end(NetFault fault, std::string detail) {
    // Another of the service's addresses may do better.
    const bool failed = fault != NetFault::none || response_.status >= 500;
    if (pins_ && failed && fault != NetFault::cancelled) pins_->erase(host_port_);
    response_.fault = fault;
    response_.detail = std::move(detail);
    handle_.reset();
    reach(Stage::ended);
}

void Call::reach(Stage stage) {
    std::lock_guard lock(mutex_);
    stage_.store(stage, std::memory_order_release);
    changed_.notify_all();
    if (request_.wake) request_.wake();
}

bool Call::wait_stage(Stage stage, SteadyTime until) {
    if (stage_.load(std::memory_order_acquire) >= stage) return true;
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, until, [&] { return stage_.load(std::memory_order_relaxed) >= stage; });
}

}  // namespace templar
