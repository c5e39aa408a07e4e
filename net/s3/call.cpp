#include "net/s3/client_impl.h"
#include "net/s3/verdict.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>

namespace templar {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int64_t signed_body_bytes = 1 << 20;
constexpr int64_t tolerated_skew_ms = 60'000;
constexpr int64_t longest_budget_ms = int64_t{30} * 24 * 3600 * 1000;
constexpr milliseconds stop_poll{50};
constexpr int most_doubts = 3;

double seconds_since(SteadyTime start) {
    return std::chrono::duration<double>(steady_clock::now() - start).count();
}

// What the calling thread sleeps on while others work for it.
class Waker {
  public:
    void wake() {
        std::lock_guard lock(mutex_);
        awake_ = true;
        woken_.notify_one();
    }
    void wait(SteadyTime until) {
        std::unique_lock lock(mutex_);
        woken_.wait_until(lock, until, [this] { return awake_; });
        awake_ = false;
    }

  private:
    std::mutex mutex_;
    std::condition_variable woken_;
    bool awake_ = false;
};

// Time that a deadline can be computed from: bodies and rates can be absurd.
milliseconds bounded(int64_t ms) {
    return milliseconds(std::clamp<int64_t>(ms, 0, longest_budget_ms));
}

}  // namespace

S3Core::S3Core(std::shared_ptr<Transport> transport, S3Location location, S3Credentials credentials,
               S3Policy policy, const std::atomic<bool>* stop)
    : transport(std::move(transport)),
      location(std::move(location)),
      credentials(std::move(credentials)),
      policy(policy),
      stop(stop) {
    if (!this->credentials.empty()) signer.emplace(this->credentials, this->location.region);
}

int64_t S3Core::signing_time_ms() const {
    return system_ms() + sign_offset_ms;
}

S3Budget S3Budget::of(const S3Policy& policy, int64_t bytes, int64_t budget_ms) {
    const SteadyTime now = steady_clock::now();
    if (budget_ms > 0) return {now, now + bounded(budget_ms)};
    const int64_t rate = std::max<int64_t>(policy.min_bytes_per_s, 1);
    return {now, now + bounded(policy.budget_ms) + bounded(bytes / rate * 1000)};
}

S3Call::S3Call(S3Core& core, S3Budget budget, S3Ask ask, int64_t tag)
    : core_(core), budget_(budget), ask_(std::move(ask)), tag_(tag), payload_hash_(unsigned_payload) {
    // A longer body is covered by Content-MD5, which is signed, and is not read once more.
    if (static_cast<int64_t>(ask_.body.size()) <= signed_body_bytes)
        payload_hash_ = to_hex(sha256(ask_.body));
}

bool S3Call::advance() {
    try {
        if (!ended_) step();
    } catch (const Error& error) {
        error_ = error;
        ended_ = true;
        exchange_.reset();
    }
    return ended_;
}

void S3Call::step() {
    if (ask_.obey_stop && core_.stop && *core_.stop)
        fail(ExitCode::interrupted, "{}: {} stopped", s3_name(core_, ask_.key), ask_.method);
    if (!exchange_) {
        if (steady_clock::now() >= not_before_) send();
        return;
    }
    if (ask_.on_head && !head_seen_ && exchange_->wait_headers(SteadyTime{})) {
        head_seen_ = true;
        if (exchange_->response().status / 100 == 2) ask_.on_head(exchange_->response());
    }
    if (exchange_->ended()) judge(exchange_->response());
}

void S3Call::send() {
    if (maybe_done_ && ask_.already_done && ask_.already_done()) {
        settled_ = ended_ = true;
        return;
    }
    S3Request request{ask_.method, core_.location.origin(), "/" + core_.location.bucket, ask_.query,
                      ask_.headers};
    if (!ask_.key.empty()) request.path += "/" + ask_.key;
    HttpRequest http;
    http.method = ask_.method;
    if (!core_.signer) {
        http.url = request_url(request);
        http.headers = std::move(request.headers);
    } else {
        signed_offset_ms_ = core_.sign_offset_ms;
        SignedRequest ready =
            core_.signer->sign(request, payload_hash_, (system_ms() + signed_offset_ms_) / 1000);
        http.url = std::move(ready.url);
        http.headers = std::move(ready.headers);
    }
    http.body = ask_.body;
    http.into = ask_.into;
    http.max_body = ask_.max_body;
    http.deadline = budget_.deadline;
    http.min_bytes_per_s = ask_.streams > 0 ? core_.policy.min_bytes_per_s / ask_.streams : 0;
    http.stall_ms = core_.policy.stall_ms;
    http.wake = wake_;

    ++tries_;
    head_seen_ = false;
    if (tries_ > 1) ++core_.retries;
    const bool reads = ask_.method == "HEAD" || (ask_.method == "GET" && ask_.query.empty());
    ++(ask_.method == "DELETE" ? core_.deletes : reads ? core_.class_b : core_.class_a);
    exchange_ = core_.transport->start(http);
}

SteadyTime S3Call::next_look() const {
    const SteadyTime soon = steady_clock::now() + stop_poll;
    return exchange_ ? soon : std::min(soon, not_before_);
}

const HttpResponse& S3Call::run() {
    const auto waker = std::make_shared<Waker>();
    set_wake([waker] { waker->wake(); });
    while (!advance()) waker->wait(next_look());
    return answer();
}

const HttpResponse& S3Call::answer() const {
    static const HttpResponse none;
    if (error_) throw *error_;
    return exchange_ ? exchange_->response() : none;
}

void S3Call::judge(const HttpResponse& response) {
    core_.bytes_down += response.into_bytes + static_cast<int64_t>(response.body.size());
    if (response.status != 0) core_.bytes_up += static_cast<int64_t>(ask_.body.size());
    if (response.resent) maybe_done_ = true;
    if (const auto date = parse_http_date(response.header("date")))
        core_.clock_difference_ms = *date + 500 - system_ms();
    // An error's text may be as long as it likes: its status counts.
    const bool long_error = response.fault == NetFault::too_long && response.status / 100 != 2;
    if (response.fault == NetFault::none || long_error)
        judge_status(response);
    else
        judge_fault(response);
}

void S3Call::judge_fault(const HttpResponse& response) {
    const NetFault fault = response.fault;
    const std::string what = fmt::format("{} ({})", net_fault_name(fault), response.detail);
    if (fault == NetFault::cancelled)
        fail(ExitCode::interrupted, "{}: {} stopped", s3_name(core_, ask_.key), ask_.method);
    if (fault == NetFault::too_long && response.status != 206)
        give_up(
            ask_.too_long, what,
            fmt::format("expected at most {} bytes", ask_.into.empty() ? ask_.max_body : ask_.into.size()));
    if (fault == NetFault::deadline)
        give_up(ExitCode::storage, last_failure_.empty() ? what : what + "; before that " + last_failure_,
                "look at the network, or allow more time");
    if (fault == NetFault::address && !may_resolve_later(response))
        give_up(ExitCode::storage, what, "choose an endpoint that may be connected to");
    if (fault != NetFault::connect && fault != NetFault::address) maybe_done_ = true;
    if (fault == NetFault::too_long && ++doubts_ == most_doubts)
        give_up(ExitCode::storage, what, "expected exactly the range that was asked for");
    retry(response, what, advice_for(fault));
}

void S3Call::judge_status(const HttpResponse& response) {
    status_ = response.status;
    fault_ = {};
    if (status_ / 100 != 2 || ask_.may_hide_error)
        if (auto fault = parse_fault(response.body)) {
            fault_ = std::move(*fault);
            if (status_ / 100 == 2) status_ = hidden_status(fault_.code);
        }
    if (good()) {
        if (core_.signer) core_.key_worked = true;
        const std::string doubt = ask_.doubt ? ask_.doubt(response) : "";
        ended_ = doubt.empty();
        if (ended_) return;
        maybe_done_ = true;
        constexpr std::string_view advice = "data is damaged on its way: look at the network and the service";
        if (++doubts_ == most_doubts) give_up(ExitCode::storage, doubt, advice);
        return retry(response, doubt, advice);
    }
    if (is_missing(status_, fault_.code, response) || status_ == 412 || status_ == 416) {
        ended_ = true;
        return;
    }
    const std::string what = describe(status_, fault_, response);
    if (renew_signature(response)) {
        last_failure_ = what;
        exchange_.reset();
        return;
    }
    if (!is_passing(status_, fault_.code)) refuse();
    if (status_ >= 500) maybe_done_ = true;
    retry(response, what, advice_for(status_, fault_.code));
}

// A refusal that another signature may cure, each once: this machine's clock is wrong, or the service fails
// for a moment to recognise a key that has worked.
bool S3Call::renew_signature(const HttpResponse& response) {
    if (!core_.signer) return false;
    const bool by_code = is_clock_code(fault_.code);
    const bool refused = status_ == 403 || (status_ == 400 && fault_.code.empty());  // HEAD says no more
    const std::optional<int64_t> date = parse_http_date(response.header("date"));
    if ((refused || by_code) && date && *date > 0 && !clock_renewed_) {
        const int64_t offset = *date + 500 - system_ms();
        if (by_code || std::abs(offset - signed_offset_ms_) > tolerated_skew_ms) {
            core_.sign_offset_ms = offset;
            return clock_renewed_ = true;
        }
    }
    if (fault_.code == "SignatureDoesNotMatch" && core_.key_worked && !signature_renewed_)
        return signature_renewed_ = true;
    return false;
}

// Again after a random time below a bound that doubles, so that clients that failed together come back apart.
void S3Call::retry(const HttpResponse& response, std::string failure, std::string_view advice) {
    const S3Policy& policy = core_.policy;
    const SteadyTime now = steady_clock::now();
    const int64_t asked = retry_after_ms(response).value_or(0);
    const int64_t left = std::chrono::duration_cast<milliseconds>(budget_.deadline - now).count() - asked;
    if (left < policy.first_pause_ms && asked > 0)
        give_up(ExitCode::storage, failure,
                fmt::format("it asks to wait {} s, longer than this may take: try later", asked / 1000));
    if (left < policy.first_pause_ms) give_up(ExitCode::storage, failure, advice);
    const int64_t bound =
        std::min({policy.first_pause_ms << std::min(tries_ - 1, 20), policy.longest_pause_ms, left});
    std::random_device random;
    const int64_t pause = std::uniform_int_distribution<int64_t>(0, std::max<int64_t>(bound, 0))(random);
    not_before_ = now + milliseconds(asked + pause);
    last_failure_ = std::move(failure);
    exchange_.reset();
}

void S3Call::refuse(std::string_view advice) const {
    const std::string what = describe(status_, fault_, answer());
    if (is_clock_code(fault_.code) && core_.clock_difference_ms != S3Core::clock_unknown)
        give_up(ExitCode::storage, what,
                fmt::format("set this machine's clock: the service's is {:+.0f} s off",
                            static_cast<double>(core_.clock_difference_ms) / 1000));
    give_up(ExitCode::storage, what, advice.empty() ? advice_for(status_, fault_.code) : advice);
}

void S3Call::give_up(ExitCode code, std::string_view why, std::string_view advice) const {
    s3_fail(
        core_, code,
        fmt::format("{}: {} failed after {} {} in {:.1f} s: {}; {}", s3_name(core_, ask_.key), ask_.method,
                    tries_, tries_ == 1 ? "try" : "tries", seconds_since(budget_.start), why, advice));
}

void run_calls(int width, const std::function<std::unique_ptr<S3Call>()>& next,
               const std::function<void(S3Call&)>& ended) {
    const auto waker = std::make_shared<Waker>();
    std::deque<std::unique_ptr<S3Call>> under_way;
    const auto start = [&] {
        while (static_cast<int>(under_way.size()) < width) {
            std::unique_ptr<S3Call> call = next();
            if (!call) return;
            call->set_wake([waker] { waker->wake(); });
            call->advance();
            under_way.push_back(std::move(call));
        }
    };
    for (start(); !under_way.empty(); start()) {
        bool moved = false;
        SteadyTime next_look = SteadyTime::max();
        for (size_t i = 0; i < under_way.size();) {
            if (!under_way[i]->advance()) {
                next_look = std::min(next_look, under_way[i++]->next_look());
                continue;
            }
            const std::unique_ptr<S3Call> call = std::move(under_way[i]);
            under_way.erase(under_way.begin() + static_cast<int64_t>(i));
            moved = true;
            start();  // the line stays busy while this answer is looked at
            ended(*call);
        }
        if (!moved) waker->wait(next_look);
    }
}

std::string s3_name(const S3Core& core, std::string_view key) {
    return fmt::format("s3://{}{}{}", core.location.bucket, key.empty() ? "" : "/", key);
}

void s3_fail(const S3Core& core, ExitCode code, std::string_view text) {
    throw Error(code, redact(text, core.credentials));
}

}  // namespace templar
