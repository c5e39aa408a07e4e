#include "net/s3/exchange.h"

#include "base/error.h"
#include "net/s3/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>

namespace templar {

namespace {

constexpr int64_t max_header_bytes = 16 * 1024;
constexpr size_t max_headers = 64;
constexpr long connect_timeout_ms = 10'000;
constexpr int64_t min_buffer = 16 * 1024, max_buffer = 512 * 1024;

long buffer_for(int64_t body) {
    return static_cast<long>(std::clamp(body, min_buffer, max_buffer));
}

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

void StallGuard::restart(SteadyTime now, int64_t moved) {
    moved_[0] = moved;
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

Call::Call(const HttpRequest& request, const Transport::Rules& rules, std::shared_ptr<Inbox> inbox)
    : request_(request), rules_(rules), inbox_(std::move(inbox)), guard_(request.stall_ms) {
    if (read_host())
        set_up();
    else
        end(NetFault::address, "not a URL that can be asked");
}

void Call::cancel() {
    if (!ended()) inbox_->post(inbox_->cancelled, *this);
    wait(SteadyTime::max());
    {
        // It may have ended by itself, with the loop still to read its mail.
        std::lock_guard lock(inbox_->mutex);
        std::erase(inbox_->cancelled, this);
    }
    // The loop may still hold the lock under which it ended this.
    std::lock_guard lock(mutex_);
}

template <class Value>
void Call::set(CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(handle_.get(), option, value);
    if (code != CURLE_OK)
        fail(ExitCode::internal, "expected libcurl to know option {}, found: {}", static_cast<int>(option),
             curl_easy_strerror(code));
}

bool Call::read_host() {
    struct UrlCleanup {
        void operator()(CURLU* url) const { curl_url_cleanup(url); }
    };
    std::unique_ptr<CURLU, UrlCleanup> url(curl_url());
    if (!url || curl_url_set(url.get(), CURLUPART_URL, request_.url.c_str(),
                             CURLU_PATH_AS_IS | CURLU_DISALLOW_USER) != CURLUE_OK)
        return false;
    for (const CURLUPart part : {CURLUPART_HOST, CURLUPART_PORT}) {
        char* text = nullptr;
        if (curl_url_get(url.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return false;
        host_port_ += part == CURLUPART_PORT ? ":" : "";
        host_port_ += text;
        curl_free(text);
    }
    return true;
}

void Call::set_up() {
    handle_.reset(curl_easy_init());
    if (!handle_) throw std::bad_alloc();
    set(CURLOPT_PRIVATE, static_cast<void*>(this));
    set(CURLOPT_ERRORBUFFER, error_text_.data());
    set(CURLOPT_URL, request_.url.c_str());
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_PROTOCOLS_STR, rules_.allow_http ? "http,https" : "https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NOSIGNAL, 1L);
    // Without it, letting go of a request whose name is being resolved waits for the resolver, and every
    // other request with it.
    set(CURLOPT_QUICK_EXIT, 1L);
    // HTTP/2 would send all ranges of an object through one TCP connection.
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(CURLOPT_SSL_VERIFYPEER, rules_.verify_tls ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, rules_.verify_tls ? 2L : 0L);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_TCP_NODELAY, 1L);
    set(CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
    const int64_t expected = request_.into.data() ? std::ssize(request_.into) : request_.max_body;
    set(CURLOPT_BUFFERSIZE, buffer_for(expected));

    set(CURLOPT_PREREQFUNCTION, &Call::on_connected);
    set(CURLOPT_PREREQDATA, static_cast<void*>(this));
    set(CURLOPT_OPENSOCKETFUNCTION, &Call::on_open_socket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
    set(CURLOPT_HEADERFUNCTION, &Call::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &Call::on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set_method();
    set_headers();
}

void Call::set_method() {
    const std::string& method = request_.method;
    if (method == "PUT" || method == "POST") {
        // A POST in the clothes of an upload: libcurl's own POST would add a Content-Type.
        set(CURLOPT_UPLOAD, 1L);
        set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
        set(CURLOPT_UPLOAD_BUFFERSIZE, buffer_for(std::ssize(request_.body)));
        set(CURLOPT_READFUNCTION, &Call::on_read);
        set(CURLOPT_READDATA, static_cast<void*>(this));
        set(CURLOPT_SEEKFUNCTION, &Call::on_seek);
        set(CURLOPT_SEEKDATA, static_cast<void*>(this));
        if (method == "POST") {
            set(CURLOPT_CUSTOMREQUEST, "POST");
            // On a kept connection that turns out to be dead it would be sent twice, and twice is not once.
            set(CURLOPT_FRESH_CONNECT, 1L);
        }
    } else if (method == "HEAD") {
        set(CURLOPT_NOBODY, 1L);
    } else if (method == "DELETE") {
        set(CURLOPT_CUSTOMREQUEST, "DELETE");
    } else if (method != "GET") {
        fail(ExitCode::internal, "expected GET, HEAD, PUT, POST or DELETE, found \"{}\"", method);
    }
    if (method != "PUT" && method != "POST") request_.body = {};
}

void Call::append(List& list, const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (!longer) throw std::bad_alloc();
    (void)list.release();
    list.reset(longer);
}

void Call::set_headers() {
    append(header_lines_, "Expect:");
    for (const auto& [name, value] : request_.headers)
        append(header_lines_, value.empty() ? name + ";" : name + ": " + value);
    set(CURLOPT_HTTPHEADER, header_lines_.get());
}

void Call::prepare(Pins& pins) {
    pins_ = &pins;
    guard_.restart(std::chrono::steady_clock::now(), 0);
    if (host_port_.front() == '[') return;  // a literal address needs no resolving
    // The cache of names belongs to the whole loop: every request says anew what it wants of it, the pinned
    // address or a fresh resolution.
    const auto pin = pins.find(host_port_);
    if (pin == pins.end())
        append(resolve_lines_, "-" + host_port_);
    else
        append(resolve_lines_, fmt::format("{}:{}", host_port_, pin->second));
    set(CURLOPT_RESOLVE, resolve_lines_.get());
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
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
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
    guard_.restart(std::chrono::steady_clock::now(), 0);
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
    enter(Phase::receiving);
    response_.status = static_cast<int>(status);
    const std::string_view coding = response_.header("transfer-encoding");
    if (!coding.empty() && lower(coding) != "chunked")
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

// What the peer has acknowledged of the body, not what the kernel has taken from us: some megabytes can wait
// there for a long time.
int64_t Call::acknowledged() const {
    curl_off_t sent = 0;
    curl_socket_t socket = CURL_SOCKET_BAD;
    int queued = 0;
    curl_easy_getinfo(handle_.get(), CURLINFO_SIZE_UPLOAD_T, &sent);
    curl_easy_getinfo(handle_.get(), CURLINFO_ACTIVESOCKET, &socket);
    if (socket != CURL_SOCKET_BAD) ioctl(socket, SIOCOUTQ, &queued);
    return sent - queued;
}

NetFault Call::fault_now(SteadyTime now) {
    if (now >= request_.deadline) return NetFault::deadline;
    if (!under_way || now < guard_.next()) return NetFault::none;
    const int64_t least = std::max<int64_t>(request_.min_bytes_per_s * request_.stall_ms / 1000, 1);
    bool slow = false;
    switch (phase_) {
        case Phase::connecting:
            guard_.restart(now, 0);
            break;  // curl's connect time-out is at work
        case Phase::sending: {
            const int64_t moved = acknowledged();
            if (moved < std::ssize(request_.body))
                slow = guard_.stalled(now, moved, least);
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
    if (pins_ && !connected_ && fault != NetFault::cancelled) pins_->erase(host_port_);
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
