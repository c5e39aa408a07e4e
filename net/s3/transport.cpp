#include "net/s3/transport.h"

#include "net/s3/exchange.h"

#include <algorithm>
#include <csignal>
#include <deque>
#include <thread>

namespace templar {

std::string_view net_fault_name(NetFault fault) {
    switch (fault) {
        case NetFault::none:
            return "none";
        case NetFault::address:
            return "address";
        case NetFault::connect:
            return "connect";
        case NetFault::broken:
            return "broken";
        case NetFault::stalled:
            return "stalled";
        case NetFault::deadline:
            return "deadline";
        case NetFault::too_long:
            return "too long";
        case NetFault::cancelled:
            return "cancelled";
    }
    return "unknown";
}

std::string_view HttpResponse::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

// One thread that does everything with curl's multi handle; others speak to it through the inbox.
class Transport::Loop {
  public:
    explicit Loop(const Rules& rules);
    ~Loop();
    std::unique_ptr<Call> start(const HttpRequest& request);

  private:
    struct MultiCleanup {
        void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
    };

    void run();
    bool take_inbox();  // false when it is time to go
    void admit();
    void take_completions();
    void look_at_all(SteadyTime now);
    void finish(Call& call, NetFault fault, std::string detail);
    void remove(Call& call);
    void poll(SteadyTime now);

    Rules rules_;
    std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
    std::unique_ptr<CURLM, MultiCleanup> multi_;  // goes in the thread, which no SIGPIPE reaches
    Pins pins_;
    std::deque<Call*> waiting_;     // for a connection
    std::vector<Call*> under_way_;  // at most max_connections
    SteadyTime next_look_ = SteadyTime::max();
    bool closing_ = false;  // under the inbox's lock
    std::thread thread_;
};

Transport::Loop::Loop(const Rules& rules) : rules_(rules) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready == CURLE_OK) multi_.reset(curl_multi_init());
    if (!multi_) throw std::bad_alloc();
    inbox_->multi = multi_.get();
    const long connections = rules_.max_connections;
    curl_multi_setopt(multi_.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, connections);
    // No signal goes to the loop's thread: the program's handlers belong to others, and SIGPIPE, which TLS on
    // a dead connection raises and curl does not hold back under NOSIGNAL, would end the program.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Transport::Loop::~Loop() {
    {
        std::lock_guard lock(inbox_->mutex);
        closing_ = true;
        curl_multi_wakeup(multi_.get());
    }
    thread_.join();
}

std::unique_ptr<Call> Transport::Loop::start(const HttpRequest& request) {
    auto call = std::make_unique<Call>(request, rules_, inbox_);
    if (!call->ended() && !inbox_->post(inbox_->started, *call)) call->end(NetFault::cancelled, "cancelled");
    return call;
}

void Transport::Loop::run() {
    while (take_inbox()) {
        admit();
        int running = 0;
        curl_multi_perform(multi_.get(), &running);
        take_completions();
        const SteadyTime now = std::chrono::steady_clock::now();
        if (now >= next_look_) look_at_all(now);
        poll(now);
    }
    {
        std::lock_guard lock(inbox_->mutex);
        inbox_->multi = nullptr;
    }
    take_inbox();
    while (!under_way_.empty()) finish(*under_way_.back(), NetFault::cancelled, "cancelled");
    while (!waiting_.empty()) finish(*waiting_.back(), NetFault::cancelled, "cancelled");
    multi_.reset();
}

bool Transport::Loop::take_inbox() {
    std::lock_guard lock(inbox_->mutex);
    for (Call* call : inbox_->started) {
        waiting_.push_back(call);
        next_look_ = std::min(next_look_, call->next_look());
    }
    inbox_->started.clear();
    // Under the lock, so that nobody who has cancelled goes away before the list is read.
    for (Call* call : inbox_->cancelled)
        if (!call->ended()) finish(*call, NetFault::cancelled, "cancelled");
    inbox_->cancelled.clear();
    return !closing_;
}

// curl would keep surplus requests itself, but forget their deadlines.
void Transport::Loop::admit() {
    while (!waiting_.empty() && std::ssize(under_way_) < rules_.max_connections) {
        Call& call = *waiting_.front();
        waiting_.pop_front();
        call.prepare(pins_);
        call.under_way = true;
        call.slot = under_way_.size();
        under_way_.push_back(&call);
        next_look_ = std::min(next_look_, call.next_look());
        curl_multi_add_handle(multi_.get(), call.handle());
    }
}

void Transport::Loop::take_completions() {
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        const CURLcode code = message->data.result;
        void* data = nullptr;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &data);
        Call& call = *static_cast<Call*>(data);
        remove(call);
        call.complete(code);
    }
}

void Transport::Loop::look_at_all(SteadyTime now) {
    std::vector<std::pair<Call*, NetFault>> faulty;
    next_look_ = SteadyTime::max();
    const auto look = [&](Call* call) {
        const NetFault fault = call->fault_now(now);
        if (fault != NetFault::none)
            faulty.emplace_back(call, fault);
        else
            next_look_ = std::min(next_look_, call->next_look());
    };
    std::ranges::for_each(under_way_, look);
    std::ranges::for_each(waiting_, look);
    for (const auto& [call, fault] : faulty) finish(*call, fault, call->describe_wait());
}

void Transport::Loop::finish(Call& call, NetFault fault, std::string detail) {
    remove(call);
    call.end(fault, std::move(detail));
}

void Transport::Loop::remove(Call& call) {
    if (!call.under_way) {
        std::erase(waiting_, &call);
        return;
    }
    curl_multi_remove_handle(multi_.get(), call.handle());
    under_way_[call.slot] = under_way_.back();
    under_way_[call.slot]->slot = call.slot;
    under_way_.pop_back();
}

void Transport::Loop::poll(SteadyTime now) {
    using std::chrono::milliseconds;
    // Slots have become free: no reason to sleep.
    if (!waiting_.empty() && std::ssize(under_way_) < rules_.max_connections) return;
    const auto rest =
        std::chrono::ceil<milliseconds>(std::clamp(next_look_, now, now + milliseconds(60'000)) - now);
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(rest.count()), nullptr);
}

Transport::Transport(const Rules& rules) : loop_(std::make_unique<Loop>(rules)) {}

Transport::~Transport() = default;

std::unique_ptr<Exchange> Transport::start(const HttpRequest& request) {
    return loop_->start(request);
}

HttpResponse Transport::perform(const HttpRequest& request, const std::atomic<bool>* stop) {
    const auto call = loop_->start(request);
    constexpr std::chrono::milliseconds between_looks(50);
    while (!call->wait(stop ? std::chrono::steady_clock::now() + between_looks : SteadyTime::max()))
        if (stop->load()) call->cancel();
    return call->take_response();
}

std::shared_ptr<Transport> Transport::shared(const Rules& rules) {
    static std::mutex mutex;
    static std::vector<std::pair<Rules, std::weak_ptr<Transport>>> known;
    std::lock_guard lock(mutex);
    std::erase_if(known, [](const auto& entry) { return entry.second.expired(); });
    for (const auto& [its_rules, transport] : known)
        if (its_rules == rules)
            if (auto alive = transport.lock()) return alive;
    auto transport = std::make_shared<Transport>(rules);
    known.emplace_back(rules, transport);
    return transport;
}

}  // namespace templar
