// Inside the S3 client: one request that is tried until it is answered, and several of them at a time. None
// of it sleeps or holds a thread of its own: the calling thread moves everything on.
#pragma once

#include "base/error.h"
#include "net/s3/client.h"

#include <functional>
#include <optional>
#include <string_view>

namespace templar {

// What all calls of one client share; safe from several threads.
struct S3Core {
    S3Core(std::shared_ptr<Transport> transport, S3Location location, S3Credentials credentials,
           S3Policy policy, const std::atomic<bool>* stop);

    std::shared_ptr<Transport> transport;
    S3Location location;
    S3Credentials credentials;
    std::optional<Signer> signer;  // nothing: requests are not signed
    S3Policy policy;
    const std::atomic<bool>* stop;

    // Added to this machine's clock when signing: 0 until the service has refused a request for its time.
    std::atomic<int64_t> sign_offset_ms{0};
    int64_t signing_time_ms() const;
    std::atomic<bool> key_worked{false};
    static constexpr int64_t clock_unknown = INT64_MIN;
    std::atomic<int64_t> clock_difference_ms{clock_unknown};

    std::atomic<int64_t> class_a{0}, class_b{0}, deletes{0}, retries{0}, bytes_up{0}, bytes_down{0};
};

struct S3Client::Impl : S3Core {
    using S3Core::S3Core;
};

inline constexpr int64_t s3_page_bytes = 4 << 20;  // of a listing, at most

struct S3Budget {
    SteadyTime start, deadline;
    // The policy's for one operation that moves `bytes`; or exactly `budget_ms` when it is positive.
    static S3Budget of(const S3Policy& policy, int64_t bytes, int64_t budget_ms = 0);
};

// One request as it is wanted, before it is signed.
struct S3Ask {
    std::string method;
    std::string key{};  // "" for the bucket itself
    std::vector<std::pair<std::string, std::optional<std::string>>> query{};
    HttpHeaders headers{};
    ByteSpan body{};  // must live as long as the call
    std::span<uint8_t> into{};
    int64_t max_body = 64 * 1024;
    ExitCode too_long = ExitCode::storage;  // what a body longer than max_body is
    int streams = 1;  // that share the link: each must have its share of the least rate; 0: at any rate
    bool obey_stop = true;
    bool may_hide_error = false;  // 200 is sent before the outcome is known: the body may be an <Error>

    // Called for every try, once the head of a good answer (2xx) is there and before its body is waited for.
    // Throws to give the call up.
    std::function<void(const HttpResponse&)> on_head{};
    // Why a good answer is not believed; "" when it is. One that is not is asked for again.
    std::function<std::string(const HttpResponse&)> doubt{};
    // Asked before a try that follows one which may have been carried out: true when it was, which ends the
    // call (see settled()).
    std::function<bool()> already_done{};
};

class S3Call {
  public:
    S3Call(S3Core& core, S3Budget budget, S3Ask ask, int64_t tag = 0);

    // Goes on as far as that is possible now. True when it has ended: with an answer, or with an error.
    bool advance();
    // When advance() has something to do whatever else happens.
    SteadyTime next_look() const;
    // Advances and waits until it has ended; then answer().
    const HttpResponse& run();
    // To be called when advance() may have something to do; see HttpRequest.
    void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

    // Good (2xx), or 404 for an object or upload that does not exist, or 412 or 416. Throws the error of a
    // call that has none.
    const HttpResponse& answer() const;
    int status() const { return status_; }  // answer()'s, or that of the error in a 200
    bool good() const { return status_ / 100 == 2; }
    // What an answer that is not good says; empty strings where it says nothing.
    const S3Fault& fault() const { return fault_; }
    // For an answer that makes no sense here. `advice`: what to do.
    [[noreturn]] void refuse(std::string_view advice = "") const;
    // An earlier try, whose answer was lost, may have been carried out.
    bool maybe_done() const { return maybe_done_; }
    // A good answer was not believed.
    bool doubted() const { return doubts_ > 0; }
    bool settled() const { return settled_; }  // by already_done
    int64_t tag() const { return tag_; }

  private:
    void step();
    void send();
    void judge(const HttpResponse& response);
    void judge_fault(const HttpResponse& response);
    void judge_status(const HttpResponse& response);
    bool renew_signature(const HttpResponse& response);
    void retry(const HttpResponse& response, std::string failure, std::string_view advice);
    [[noreturn]] void give_up(ExitCode code, std::string_view why, std::string_view advice) const;

    S3Core& core_;
    S3Budget budget_;
    S3Ask ask_;
    int64_t tag_;
    std::string payload_hash_;
    std::function<void()> wake_;
    std::unique_ptr<Exchange> exchange_;
    SteadyTime not_before_{};
    int64_t signed_offset_ms_ = 0;
    int tries_ = 0, doubts_ = 0, status_ = 0;
    bool head_seen_ = false, ended_ = false, maybe_done_ = false, settled_ = false;
    bool clock_renewed_ = false, signature_renewed_ = false;
    std::string last_failure_;
    S3Fault fault_;
    std::optional<Error> error_;
};

// Keeps up to `width` calls going: `next` gives another one, or nothing for now; `ended` is told of each that
// has ended and may make `next` give more. Returns when nothing is under way and `next` gives nothing; what
// `ended` throws cancels the rest.
void run_calls(int width, const std::function<std::unique_ptr<S3Call>()>& next,
               const std::function<void(S3Call&)>& ended);

std::optional<S3Object> s3_head(S3Core& core, const std::string& key, S3Budget budget);
std::vector<S3Upload> s3_unfinished_uploads(S3Core& core, const std::string& prefix, S3Budget budget);
void s3_abort_upload(S3Core& core, const S3Upload& upload, S3Budget budget, bool obey_stop = true);
// The bytes [begin, begin + into.size()) of an object of `total` bytes (any number when it is negative) that
// is long enough. Nothing when there is none.
std::optional<S3Object> s3_download(S3Core& core, const std::string& key, int64_t begin, int64_t total,
                                    std::span<uint8_t> into, S3Budget budget, const ArrivalCheck& check,
                                    const TransferProgress& progress);

// "s3://bucket/key" as errors name it.
std::string s3_name(const S3Core& core, std::string_view key);
// Throws Error(code, text), redacted.
[[noreturn]] void s3_fail(const S3Core& core, ExitCode code, std::string_view text);

// What `parse` makes of an answer in XML. What is none is the service's fault, not an object's.
template <class Parse>
auto s3_parsed(const S3Core& core, const HttpResponse& answer, const Parse& parse) {
    try {
        return parse(answer.body);
    } catch (const Error& error) {
        s3_fail(core, ExitCode::storage,
                fmt::format("{}: expected the answer of an S3 service: {}", s3_name(core, ""), error.what()));
    }
}

// ETag, without quotes and weakness mark; "" when there is none.
std::string etag_of(const HttpResponse& response);
// Nothing when it is missing or no number.
std::optional<int64_t> content_length_of(const HttpResponse& response);
// Size, time and ETag of an object whose size is `size`. Throws Error(storage) without a Last-Modified.
S3Object object_of(const S3Core& core, const std::string& key, const HttpResponse& response, int64_t size);

// Tells a TransferProgress of one body, at most every 100 ms; nothing of short ones.
class S3Progress {
  public:
    S3Progress(const TransferProgress& tell, std::string key, int64_t total);
    void add(int64_t bytes);
    void restart() { done_ = 0; }

  private:
    const TransferProgress& tell_;
    std::string key_;
    int64_t total_, done_ = 0;
    SteadyTime told_;
    bool takes_long_ = false;
};

}  // namespace templar
