// Inside transport.h: one request, its curl handle, and what is believed of its answer.
#pragma once

#include "net/s3/transport.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace templar {

class Call;

// How other threads reach the event loop. Outlives the loop for the exchanges that do.
struct Inbox {
    std::mutex mutex;
    std::vector<Call*> started, cancelled;
    CURLM* multi = nullptr;  // null once the loop is gone, and everything with it

    // False when the loop is gone.
    bool post(std::vector<Call*>& list, Call& call);
};

// "host:port" to the address that its connections go to.
using Pins = std::map<std::string, std::string>;

// Too few bytes in a window of time, looked at eight times in each.
class StallGuard {
  public:
    explicit StallGuard(int64_t window_ms) : step_(std::max<int64_t>(window_ms * 1000 / steps, 1000)) {}
    void restart(SteadyTime now);  // nothing has moved yet
    SteadyTime next() const { return next_; }
    // `moved`: bytes since the restart. True when a whole window has passed since then and less than `least`
    // bytes moved in the last one.
    bool stalled(SteadyTime now, int64_t moved, int64_t least);

  private:
    static constexpr int64_t steps = 8;
    std::chrono::microseconds step_;
    SteadyTime next_ = SteadyTime::max();
    int64_t count_ = 0;
    std::array<int64_t, steps> moved_{};
};

class Call final : public Exchange {
  public:
    Call(const HttpRequest& request, const Transport::Rules& rules, std::shared_ptr<Inbox> inbox);
    ~Call() override { cancel(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    bool wait_headers(SteadyTime until) override { return wait_stage(Stage::headers, until); }
    bool wait(SteadyTime until) override { return wait_stage(Stage::ended, until); }
    bool ended() const override { return stage_.load(std::memory_order_acquire) == Stage::ended; }
    const HttpResponse& response() const override { return response_; }
    void cancel();
    HttpResponse take_response() { return std::move(response_); }

    // What follows is for the event loop's thread.
    CURL* handle() const { return handle_.get(); }
    void prepare(Pins& pins);                      // before it is given to curl
    void complete(CURLcode code);                  // curl is done with it
    void end(NetFault fault, std::string detail);  // nothing of the request is used after this
    // The time of the next look at it, and the look: `fault_now` is none while all is well.
    SteadyTime next_look() const { return std::min(request_.deadline, guard_.next()); }
    NetFault fault_now(SteadyTime now);
    std::string describe_wait() const;
    bool under_way = false;  // curl has it
    size_t slot = 0;         // in the loop's list of those

  private:
    enum class Stage { running, headers, ended };
    enum class Phase { connecting, sending, waiting, receiving };
    struct HandleCleanup {
        void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
    };
    struct ListCleanup {
        void operator()(curl_slist* list) const { curl_slist_free_all(list); }
    };
    using List = std::unique_ptr<curl_slist, ListCleanup>;

    template <class Value>
    void set(CURLoption option, Value value);
    void set_up();
    void set_method();
    void set_headers();
    bool read_host();
    static void append(List& list, const std::string& line);

    static int on_connected(void* self, char* remote, char* local, int remote_port, int local_port);
    static curl_socket_t on_open_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
    static size_t on_header(char* data, size_t, size_t size, void* self);
    static size_t on_body(char* data, size_t, size_t size, void* self);
    static size_t on_read(char* to, size_t, size_t room, void* self);
    static int on_seek(void* self, curl_off_t offset, int origin);

    void enter(Phase phase);
    bool take_header_line(std::string_view line);
    bool headers_complete();
    bool take_body(std::string_view data);
    bool give_up(NetFault fault, std::string detail);
    std::optional<int64_t> announced_length();
    NetFault fault_of(CURLcode code) const;
    bool wait_stage(Stage stage, SteadyTime until);
    void reach(Stage stage);

    HttpRequest request_;
    Transport::Rules rules_;
    std::shared_ptr<Inbox> inbox_;
    List header_lines_, resolve_lines_;
    std::unique_ptr<CURL, HandleCleanup> handle_;  // uses the lists: goes before them
    std::array<char, CURL_ERROR_SIZE> error_text_{};
    std::string host_port_;
    Pins* pins_ = nullptr;

    Phase phase_ = Phase::connecting;
    StallGuard guard_;
    bool refused_address_ = false, opened_socket_ = false, connected_ = false;
    bool filling_ = false;  // the body goes to request_.into
    bool cut_ = false;      // enough of an error's body is here
    int64_t header_bytes_ = 0, received_ = 0, sent_ = 0;
    NetFault fault_ = NetFault::none;
    std::string detail_;

    HttpResponse response_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<Stage> stage_{Stage::running};
};

}  // namespace templar
