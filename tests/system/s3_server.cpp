#include "tests/system/s3_server.h"

#include "base/error.h"
#include "tests/system/s3_server_fault.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <list>
#include <thread>

namespace templar::s3test {
namespace {

constexpr const char* operation_names[] = {"get",          "head",          "put",          "remove",
                                           "list",         "create_upload", "upload_part",  "complete_upload",
                                           "abort_upload", "list_parts",    "list_uploads", "other"};
constexpr const char* fault_names[] = {
    "status",       "early_status", "echo",          "reset_before", "reset_unstored",
    "reset_stored", "reset_middle", "stall",         "stall_middle", "drip",
    "drip_all",     "truncated",    "short_length",  "shorter",      "oversized",
    "overrun",      "chunked",      "endless",       "header",       "ignore_range",
    "flip",         "error_in_200", "header_bomb",   "garbage",      "continues",
    "redirect",     "list_stuck",   "malformed_xml", "body"};

// Uniform in [0, 1), the same for every run: the n-th draw of a rule (SplitMix64).
double draw(uint64_t seed, uint64_t n) {
    uint64_t x = seed * 0x9E3779B97F4A7C15u + n * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

struct Rule {
    FaultRule rule;
    int64_t seen = 0, struck = 0;
    bool active = true;
};

struct Worker {
    explicit Worker(int descriptor) : connection(std::in_place, descriptor) {}
    std::optional<Connection> connection;
    std::thread thread;
    bool done = false;
};

}  // namespace

const char* operation_name(Operation operation) {
    return operation_names[static_cast<int>(operation)];
}
const char* fault_name(Fault fault) {
    return fault_names[static_cast<int>(fault)];
}

int64_t Counters::of(Operation operation) const {
    const auto found = requests.find(operation);
    return found == requests.end() ? 0 : found->second;
}

struct Server::Impl {
    explicit Impl(const Quirks& quirks);
    ~Impl();

    void accept_all();
    void serve(Worker& worker);
    // False when the connection is over.
    bool serve_one(Connection& connection);
    std::optional<FaultRule> strike(const Request& request, const Target& target);
    // Before the answer is sent, so that who has received it finds it counted.
    void record(const Target& target, const Request& request, int status, int64_t body_bytes);
    void finish(int64_t bytes_more);

    Service service;
    int listener = -1;
    uint16_t port = 0;
    mutable std::mutex mutex;
    std::list<Worker> workers;
    bool stopping = false;
    std::vector<Rule> rules;
    Counters counters;
    std::deque<Served> served;
    std::thread acceptor;
};

Server::Impl::Impl(const Quirks& quirks) : service(quirks) {
    listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (listener < 0 || ::bind(listener, generic, length) != 0 || ::listen(listener, 1024) != 0 ||
        ::getsockname(listener, generic, &length) != 0)
        fail(ExitCode::internal, "no test server on 127.0.0.1: {}", std::strerror(errno));
    port = ntohs(address.sin_port);
    acceptor = std::thread([this] { accept_all(); });
}

Server::Impl::~Impl() {
    {
        std::lock_guard lock(mutex);
        stopping = true;
        ::shutdown(listener, SHUT_RDWR);
        for (Worker& worker : workers)
            if (worker.connection) worker.connection->interrupt();
    }
    acceptor.join();
    for (Worker& worker : workers) worker.thread.join();
    ::close(listener);
}

void Server::Impl::accept_all() {
    for (;;) {
        const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        std::lock_guard lock(mutex);
        if (stopping) {
            if (descriptor >= 0) ::close(descriptor);
            return;
        }
        if (descriptor < 0) continue;
        const int on = 1;
        ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        workers.remove_if([](Worker& worker) {
            if (worker.done) worker.thread.join();
            return worker.done;
        });
        ++counters.connections;
        counters.most_connections = std::max(counters.most_connections, ++counters.open_connections);
        Worker& worker = workers.emplace_back(descriptor);
        worker.thread = std::thread([this, &worker] { serve(worker); });
    }
}

void Server::Impl::serve(Worker& worker) {
    while (serve_one(*worker.connection)) {
    }
    std::lock_guard lock(mutex);
    worker.connection.reset();
    worker.done = true;
    --counters.open_connections;
}

std::optional<FaultRule> Server::Impl::strike(const Request& request, const Target& target) {
    std::lock_guard lock(mutex);
    for (Rule& candidate : rules) {
        const FaultRule& rule = candidate.rule;
        if (!candidate.active || !concerns(rule, request, target)) continue;
        ++candidate.seen;
        if (candidate.seen < rule.first || candidate.struck >= rule.times) continue;
        if (rule.probability < 1 &&
            draw(rule.seed, static_cast<uint64_t>(candidate.seen)) >= rule.probability)
            continue;
        ++candidate.struck;
        ++counters.faults;
        return rule;
    }
    return std::nullopt;
}

void Server::Impl::record(const Target& target, const Request& request, int status, int64_t body_bytes) {
    constexpr size_t most_served = 10'000;
    std::lock_guard lock(mutex);
    counters.bytes_in += static_cast<int64_t>(request.body.size());
    counters.bytes_out += body_bytes;
    served.push_back(
        {target.operation, target.bucket, target.key, request.header("range"), status, body_bytes});
    if (served.size() > most_served) served.pop_front();
}

void Server::Impl::finish(int64_t bytes_more) {
    std::lock_guard lock(mutex);
    --counters.running;
    counters.bytes_out += bytes_more;
}

bool Server::Impl::serve_one(Connection& connection) {
    std::optional<Request> request = connection.read_head();
    if (!request) return false;
    const Target target = read_target(*request);
    {
        std::lock_guard lock(mutex);
        ++counters.all_requests;
        ++counters.requests[target.operation];
        counters.most_running = std::max(counters.most_running, ++counters.running);
        if (request->has("expect")) ++counters.expects;
    }
    const std::optional<FaultRule> rule = strike(*request, target);
    const auto struck_by = [&](Fault fault) { return rule && rule->fault == fault; };

    const bool whole = !struck_by(Fault::reset_before) && !struck_by(Fault::early_status);
    const bool arrived = whole && connection.read_body(*request);
    if ((whole && !arrived) || struck_by(Fault::reset_before) || struck_by(Fault::reset_unstored)) {
        record(target, *request, 0, 0);
        finish(0);
        if (rule) connection.end_abruptly();
        return false;
    }
    Target asked = target;
    if (struck_by(Fault::list_stuck)) asked.query.erase("continuation-token");
    Response response = rule && replaces_operation(rule->fault)
                            ? instead(*rule, *request, target, service.now_s())
                            : service.answer(*request, asked);
    const Plan plan = plan_answer(response, rule ? &*rule : nullptr, *request, target, service);
    const int64_t planned = static_cast<int64_t>(plan.body.size() + plan.surplus.size());
    record(target, *request, plan.head.empty() ? 0 : response.status, planned);
    int64_t sent = 0;
    const bool keep = connection.send(plan, sent);
    finish(sent - planned);
    return keep;
}

Server::Server(const Quirks& quirks) : impl_(std::make_unique<Impl>(quirks)) {}
Server::~Server() = default;

uint16_t Server::port() const {
    return impl_->port;
}
std::string Server::origin() const {
    return "http://127.0.0.1:" + std::to_string(impl_->port);
}
void Server::add_key(const Key& key) {
    impl_->service.add_key(key);
}
void Server::add_bucket(const std::string& name, bool public_read) {
    impl_->service.add_bucket(name, public_read);
}

void Server::store(const std::string& bucket, const std::string& key, Bytes bytes) {
    const auto owner = std::make_shared<const Bytes>(std::move(bytes));
    store(bucket, key, owner, *owner);
}

void Server::store(const std::string& bucket, const std::string& key, std::shared_ptr<const Bytes> owner,
                   ByteSpan bytes) {
    impl_->service.store(bucket, key, {std::move(owner), bytes, {}, 0, 0});
}

std::optional<Stored> Server::find(const std::string& bucket, const std::string& key) const {
    const std::optional<Blob> blob = impl_->service.blob(bucket, key);
    if (!blob) return std::nullopt;
    return Stored{Bytes(blob->bytes.begin(), blob->bytes.end()), blob->etag, blob->modified_ms,
                  blob->times_stored};
}

void Server::set_modified(const std::string& bucket, const std::string& key, int64_t unix_ms) {
    impl_->service.set_modified(bucket, key, unix_ms);
}

int64_t Server::uploads_open(const std::string& bucket) const {
    return impl_->service.uploads_open(bucket);
}
void Server::set_clock_offset(int64_t seconds) {
    impl_->service.set_clock_offset(seconds);
}

int64_t Server::inject(const FaultRule& rule) {
    std::lock_guard lock(impl_->mutex);
    impl_->rules.push_back({rule});
    return static_cast<int64_t>(impl_->rules.size()) - 1;
}

int64_t Server::strikes(int64_t rule) const {
    std::lock_guard lock(impl_->mutex);
    return impl_->rules.at(static_cast<size_t>(rule)).struck;
}

void Server::heal() {
    std::lock_guard lock(impl_->mutex);
    for (Rule& rule : impl_->rules) rule.active = false;
}

Counters Server::counters() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->counters;
}

std::vector<Served> Server::served() const {
    std::lock_guard lock(impl_->mutex);
    return {impl_->served.begin(), impl_->served.end()};
}

void Server::forget_counts() {
    std::lock_guard lock(impl_->mutex);
    Counters fresh;
    fresh.open_connections = fresh.most_connections = impl_->counters.open_connections;
    fresh.running = fresh.most_running = impl_->counters.running;
    impl_->counters = fresh;
    impl_->served.clear();
}

}  // namespace templar::s3test
