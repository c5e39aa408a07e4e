// How libcurl is told what an exchange wants.
#include "net/s3/exchange.h"

#include "base/error.h"

#include <fmt/format.h>

namespace templar {

namespace {

constexpr long connect_timeout_ms = 10'000;
constexpr int64_t min_buffer = 16 * 1024, max_buffer = 512 * 1024;

long buffer_for(int64_t body) {
    return static_cast<long>(std::clamp(body, min_buffer, max_buffer));
}

}  // namespace

Call::Call(const HttpRequest& request, const Transport::Rules& rules, std::shared_ptr<Inbox> inbox)
    : request_(request), rules_(rules), inbox_(std::move(inbox)), guard_(request.stall_ms) {
    if (read_host())
        set_up();
    else
        end(NetFault::address, "not a URL that can be asked");
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
    guard_.restart(std::chrono::steady_clock::now());
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

}  // namespace templar
