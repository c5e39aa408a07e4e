// A loopback server that does what a test tells it to, however rude; and requests to it.
#pragma once

#include "net/s3/transport.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace templar {

inline constexpr Transport::Rules local{.allow_http = true, .allow_private = true};

inline SteadyTime in_ms(int64_t ms) {
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
}

inline HttpRequest request_of(std::string method, std::string url) {
    return {.method = std::move(method), .url = std::move(url), .deadline = in_ms(10'000)};
}

// The server's end of one connection.
class Peer {
  public:
    Peer(int fd, const std::atomic<bool>& closing) : fd_(fd), closing_(closing) {}
    ~Peer() { ::close(fd_); }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    // One request, its body included when it has a Content-Length; "" when the client has gone.
    std::string read_request() {
        size_t head = std::string::npos;
        while ((head = received_.find("\r\n\r\n")) == std::string::npos)
            if (!receive()) return "";
        size_t size = head + 4;
        const size_t length = received_.find("\r\nContent-Length: ");
        if (length < head) size += std::stoul(received_.substr(length + 18));
        while (received_.size() < size)
            if (!receive()) return "";
        const std::string request = received_.substr(0, size);
        received_.erase(0, size);
        return request;
    }
    // False when the client has gone.
    bool send(std::string_view text) {
        while (!text.empty()) {
            const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            text.remove_prefix(static_cast<size_t>(sent));
        }
        return true;
    }
    void pause(int ms) const {
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
        while (!closing_ && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    // Whatever comes is ignored until the client goes.
    void wait_for_end() {
        while (receive()) received_.clear();
    }
    // `size` bytes, `step` at a time.
    bool read_slowly(size_t size, size_t step, int pause_ms) {
        for (size_t done = 0; done < size; received_.clear()) {
            while (received_.size() < step && done + received_.size() < size)
                if (!receive()) return false;
            done += received_.size();
            pause(pause_ms);
        }
        return true;
    }
    // Until the test is over, and nothing is read.
    void hold() const { pause(60'000); }
    // The connection will end with a reset.
    void reset_at_end() const {
        const linger now{1, 0};
        setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    void shut() const { shutdown(fd_, SHUT_RDWR); }

  private:
    bool receive() {
        char buffer[65536];
        const ssize_t size = recv(fd_, buffer, sizeof buffer, 0);
        if (size > 0) received_.append(buffer, static_cast<size_t>(size));
        return size > 0;
    }

    int fd_;
    const std::atomic<bool>& closing_;
    std::string received_;
};

class ScriptedServer {
  public:
    // `script` is run for every connection, each in a thread; the connection is closed when it returns.
    // port 0: any free one; receive_buffer 0: the system's own size.
    explicit ScriptedServer(std::function<void(Peer&)> script, int family = AF_INET, uint16_t port = 0,
                            int receive_buffer = 0)
        : family_(family),
          script_(std::move(script)),
          listener_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const int on = 1;
        setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (receive_buffer > 0)
            setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        sockaddr_storage address{};
        socklen_t size = sizeof(sockaddr_in);
        if (family == AF_INET6) {
            size = sizeof(sockaddr_in6);
            setsockopt(listener_, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
            auto& ipv6 = reinterpret_cast<sockaddr_in6&>(address);
            ipv6.sin6_family = AF_INET6;
            ipv6.sin6_addr = in6addr_loopback;
            ipv6.sin6_port = htons(port);
        } else {
            auto& ipv4 = reinterpret_cast<sockaddr_in&>(address);
            ipv4.sin_family = AF_INET;
            ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            ipv4.sin_port = htons(port);
        }
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        listening_ = bind(listener_, generic, size) == 0 && listen(listener_, 64) == 0;
        getsockname(listener_, generic, &size);
        port_ = ntohs(family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                         : reinterpret_cast<sockaddr_in&>(address).sin_port);
        if (listening_) accepting_ = std::thread([this] { accept_all(); });
    }
    ~ScriptedServer() {
        closing_ = true;
        shutdown(listener_, SHUT_RDWR);
        if (accepting_.joinable()) accepting_.join();
        ::close(listener_);
        {
            std::lock_guard lock(mutex_);
            for (auto& connection : connections_)
                if (connection.peer) connection.peer->shut();
        }
        for (auto& connection : connections_) connection.thread.join();
    }

    bool listening() const { return listening_; }
    uint16_t port() const { return port_; }
    std::string url(std::string_view path = "/") const {
        return fmt::format("http://{}:{}{}", family_ == AF_INET6 ? "[::1]" : "127.0.0.1", port_, path);
    }
    int accepted() const { return accepted_; }
    int most_open() const { return most_open_; }

  private:
    struct Connection {
        std::unique_ptr<Peer> peer;
        std::thread thread;
    };

    void accept_all() {
        for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
            ++accepted_;
            std::lock_guard lock(mutex_);
            Connection& connection = connections_.emplace_back();
            connection.peer = std::make_unique<Peer>(fd, closing_);
            most_open_ = std::max<int>(most_open_, ++open_);
            connection.thread = std::thread([this, &connection] {
                script_(*connection.peer);
                std::lock_guard lock(mutex_);
                --open_;
                connection.peer.reset();
            });
        }
    }

    int family_;
    std::function<void(Peer&)> script_;
    int listener_;
    bool listening_ = false;
    uint16_t port_ = 0;
    std::atomic<bool> closing_{false};
    std::atomic<int> accepted_{0}, open_{0}, most_open_{0};
    std::mutex mutex_;
    std::list<Connection> connections_;
    std::thread accepting_;
};

}  // namespace templar
