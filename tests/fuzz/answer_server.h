// An HTTP server on loopback that gives scripted answers, byte for byte, one to each request it gets.
#pragma once

#include "base/file.h"
#include "tests/fuzz/target.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

namespace templar::fuzz {

class AnswerServer {
  public:
    AnswerServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* any = reinterpret_cast<sockaddr*>(&address);
        require(listener_ && ::bind(listener_.get(), any, size) == 0 && ::listen(listener_.get(), 64) == 0 &&
                    ::getsockname(listener_.get(), any, &size) == 0,
                "a port can be had on loopback");
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~AnswerServer() {
        closing_ = true;
        thread_.join();
    }
    AnswerServer(const AnswerServer&) = delete;
    AnswerServer& operator=(const AnswerServer&) = delete;

    int port() const { return port_; }
    // For the requests to come; a connection is closed after the last answer, or after each.
    void set_answers(std::vector<std::string> answers, bool close_after_each) {
        const std::lock_guard lock(mutex_);
        answers_ = std::move(answers);
        next_ = 0;
        close_after_each_ = close_after_each;
    }

  private:
    // To requests beyond the script: nothing that anyone would repeat.
    inline static const std::string no_more = "HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n";

    struct Connection {
        Descriptor socket;
        std::string request;
    };

    void serve() {
        std::vector<Connection> connections;
        while (!closing_) {
            std::vector<pollfd> polled = {{listener_.get(), POLLIN, 0}};
            for (const Connection& connection : connections)
                polled.push_back({connection.socket.get(), POLLIN, 0});
            if (::poll(polled.data(), polled.size(), 10) <= 0) continue;
            for (size_t i = connections.size(); i > 0; --i)
                if (polled[i].revents != 0 && !read_and_answer(connections[i - 1]))
                    connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i - 1));
            while (true) {
                Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
                if (!socket) break;
                connections.push_back({std::move(socket), {}});
            }
        }
    }

    // False when the connection has ended.
    bool read_and_answer(Connection& connection) {
        char bytes[16384];
        const ssize_t count = ::recv(connection.socket.get(), bytes, sizeof bytes, 0);
        if (count <= 0) return false;
        connection.request.append(bytes, static_cast<size_t>(count));
        const size_t head = connection.request.find("\r\n\r\n");
        if (head == std::string::npos ||
            connection.request.size() < head + 4 + body_length(connection.request))
            return true;
        connection.request.clear();
        const std::lock_guard lock(mutex_);
        const std::string& answer = next_ < answers_.size() ? answers_[next_] : no_more;
        ++next_;
        ::send(connection.socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
        if (close_after_each_ || next_ >= answers_.size()) ::shutdown(connection.socket.get(), SHUT_WR);
        return true;
    }

    static size_t body_length(std::string_view request) {
        constexpr std::string_view name = "\r\nContent-Length: ";
        const size_t at = request.find(name);
        return at == std::string_view::npos ? 0
                                            : std::strtoul(request.data() + at + name.size(), nullptr, 10);
    }

    Descriptor listener_;
    int port_ = 0;
    std::mutex mutex_;
    std::vector<std::string> answers_;
    size_t next_ = 0;
    bool close_after_each_ = false;
    std::atomic<bool> closing_{false};
    std::thread thread_;
};

// Answers one after the other, separated by lines of "%%".
inline std::vector<std::string> split_answers(std::string_view text) {
    constexpr std::string_view separator = "\n%%\n";
    std::vector<std::string> answers;
    while (answers.size() < 8) {
        const size_t end = text.find(separator);
        answers.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + separator.size());
    }
    return answers;
}

}  // namespace templar::fuzz
