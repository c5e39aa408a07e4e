#include "net/s3/client.h"

#include "net/s3/client_impl.h"

#include <algorithm>
#include <charconv>

namespace templar {

namespace {

constexpr int64_t page_entries = 1000;
constexpr int64_t most_listed = 1'000'000;
constexpr int64_t told_of_bytes = 1 << 20;
constexpr std::chrono::milliseconds telling_pause{100};

void check_at_most(const S3Core& core, const std::string& key, int64_t size, int64_t max_bytes) {
    if (size > max_bytes)
        s3_fail(core, ExitCode::input,
                fmt::format("{} has {} bytes, expected at most {}", s3_name(core, key), size, max_bytes));
}

}  // namespace

S3Client::S3Client(std::shared_ptr<Transport> transport, S3Location location, S3Credentials credentials,
                   S3Policy policy, const std::atomic<bool>* stop)
    : impl_(std::make_shared<Impl>(std::move(transport), std::move(location), std::move(credentials), policy,
                                   stop)) {}

std::optional<S3Object> S3Client::head(const std::string& key) {
    return s3_head(*impl_, key, S3Budget::of(impl_->policy, 0));
}

std::optional<std::pair<Bytes, S3Object>> S3Client::get(const std::string& key, int64_t max_bytes) {
    S3GetResult result = std::move(get_many({key}, max_bytes).front());
    if (result.error) throw *result.error;
    return std::move(result.object);
}

std::vector<S3GetResult> S3Client::get_many(const std::vector<std::string>& keys, int64_t max_bytes) {
    S3Core& core = *impl_;
    std::vector<S3GetResult> results(keys.size());
    size_t started = 0;
    const auto next = [&]() -> std::unique_ptr<S3Call> {
        if (started == keys.size()) return nullptr;
        const std::string& key = keys[started];
        S3Ask ask{.method = "GET", .key = key};
        ask.max_body = std::max(max_bytes, ask.max_body);  // room for what an error says
        ask.too_long = ExitCode::input;
        ask.streams = std::min(core.policy.parallel_gets, static_cast<int>(keys.size()));
        ask.on_head = [&core, &key, max_bytes](const HttpResponse& head) {
            check_at_most(core, key, content_length_of(head).value_or(0), max_bytes);
        };
        ask.doubt = [](const HttpResponse& answer) {
            return answer.status == 200 ? "" : "a part, and the whole was asked for";
        };
        return std::make_unique<S3Call>(core, S3Budget::of(core.policy, max_bytes), std::move(ask),
                                        static_cast<int64_t>(started++));
    };
    run_calls(core.policy.parallel_gets, next, [&](S3Call& call) {
        S3GetResult& result = results[static_cast<size_t>(call.tag())];
        try {
            const HttpResponse& answer = call.answer();
            if (call.status() == 404) return;
            if (!call.good()) call.refuse();
            const ByteSpan body = as_bytes(answer.body);
            const std::string& key = keys[static_cast<size_t>(call.tag())];
            check_at_most(core, key, static_cast<int64_t>(body.size()), max_bytes);
            result.object.emplace(Bytes(body.begin(), body.end()),
                                  object_of(core, key, answer, static_cast<int64_t>(body.size())));
        } catch (const Error& error) {
            if (error.code() == ExitCode::interrupted) throw;
            result.error = error;
        }
    });
    return results;
}

void S3Client::remove(const std::string& key) {
    S3Call call(*impl_, S3Budget::of(impl_->policy, 0), {.method = "DELETE", .key = key});
    call.run();
    if (!call.good() && call.status() != 404) call.refuse();
}

std::vector<S3ListedObject> S3Client::list(const std::string& prefix, const std::string& start_after,
                                           int64_t limit) {
    S3Core& core = *impl_;
    std::vector<S3ListedObject> found;
    std::string token;
    const S3Budget whole =
        S3Budget::of(core.policy, 0,
                     core.policy.budget_ms * (1 + std::clamp<int64_t>(limit, 0, most_listed) / page_entries));
    while (static_cast<int64_t>(found.size()) < limit) {
        const int64_t wanted = std::min(page_entries, limit - static_cast<int64_t>(found.size()));
        S3Ask ask{.method = "GET"};
        ask.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", std::to_string(wanted)}};
        if (!prefix.empty()) ask.query.push_back({"prefix", prefix});
        if (!start_after.empty()) ask.query.push_back({"start-after", start_after});
        if (!token.empty()) ask.query.push_back({"continuation-token", token});
        ask.max_body = s3_page_bytes;
        S3Budget budget = S3Budget::of(core.policy, 0);
        budget.deadline = std::min(budget.deadline, whole.deadline);
        S3Call call(core, budget, std::move(ask));
        const HttpResponse& answer = call.run();
        if (!call.good()) call.refuse();
        S3ListPage page = s3_parsed(core, answer, parse_list_page);
        for (S3ListedObject& object : page.objects) {
            const std::string& last = found.empty() ? start_after : found.back().key;
            if (!object.key.starts_with(prefix) || object.key <= last)
                s3_fail(core, ExitCode::storage,
                        fmt::format(
                            "{}: the listing of \"{}\" after \"{}\" goes on with \"{}\": expected keys in "
                            "ascending order; this service cannot be used",
                            s3_name(core, ""), prefix, last, object.key));
            if (static_cast<int64_t>(found.size()) < limit) found.push_back(std::move(object));
        }
        if (!page.truncated) break;
        if (page.objects.empty() || page.next_token.empty())
            s3_fail(core, ExitCode::storage,
                    fmt::format("{}: the listing of \"{}\" does not advance: this service cannot be used",
                                s3_name(core, ""), prefix));
        token = std::move(page.next_token);
    }
    return found;
}

std::vector<S3Upload> S3Client::unfinished_uploads(const std::string& prefix) {
    return s3_unfinished_uploads(*impl_, prefix, S3Budget::of(impl_->policy, 0));
}

void S3Client::abort_upload(const S3Upload& upload) {
    s3_abort_upload(*impl_, upload, S3Budget::of(impl_->policy, 0));
}

std::string S3Client::presign(const std::string& method, const std::string& key, int64_t expires_s,
                              bool create_only) {
    if (!impl_->signer)
        fail(ExitCode::identity, "{}: a permission needs a key to sign it with", s3_name(*impl_, key));
    S3Request request{method, impl_->location.origin(), "/" + impl_->location.bucket + "/" + key, {}, {}};
    if (create_only) request.headers.push_back({"If-None-Match", "*"});
    return impl_->signer->presign(request, impl_->signing_time_ms() / 1000, expires_s).url;
}

std::optional<int64_t> S3Client::clock_difference_ms() const {
    const int64_t difference = impl_->clock_difference_ms;
    return difference == S3Core::clock_unknown ? std::nullopt : std::optional(difference);
}

const S3Location& S3Client::location() const {
    return impl_->location;
}

TransferStats S3Client::stats() const {
    return {impl_->class_a, impl_->class_b,  impl_->deletes,
            impl_->retries, impl_->bytes_up, impl_->bytes_down};
}

std::optional<S3Object> s3_head(S3Core& core, const std::string& key, S3Budget budget) {
    S3Call call(core, budget, {.method = "HEAD", .key = key});
    const HttpResponse& answer = call.run();
    if (call.status() == 404) return std::nullopt;
    if (!call.good()) call.refuse();
    const std::optional<int64_t> size = content_length_of(answer);
    if (!size) call.refuse("expected a Content-Length");
    return object_of(core, key, answer, *size);
}

std::string etag_of(const HttpResponse& response) {
    std::string_view etag = response.header("etag");
    if (etag.starts_with("W/")) etag.remove_prefix(2);
    if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
    return std::string(etag);
}

std::optional<int64_t> content_length_of(const HttpResponse& response) {
    const std::string_view text = response.header("content-length");
    int64_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc() || end != text.data() + text.size() || length < 0) return std::nullopt;
    return length;
}

S3Object object_of(const S3Core& core, const std::string& key, const HttpResponse& response, int64_t size) {
    const std::optional<int64_t> modified = parse_http_date(response.header("last-modified"));
    if (!modified)
        s3_fail(core, ExitCode::storage,
                fmt::format("{}: expected a Last-Modified date, found \"{}\"", s3_name(core, key),
                            response.header("last-modified")));
    return {size, *modified, etag_of(response)};
}

S3Progress::S3Progress(const TransferProgress& tell, std::string key, int64_t total)
    : tell_(tell), key_(std::move(key)), total_(total), told_(std::chrono::steady_clock::now()) {}

void S3Progress::add(int64_t bytes) {
    done_ += bytes;
    if (!tell_ || total_ <= told_of_bytes || bytes == 0) return;
    const SteadyTime now = std::chrono::steady_clock::now();
    if (now - told_ < telling_pause && !(done_ == total_ && takes_long_)) return;
    told_ = now;
    takes_long_ = true;
    tell_(key_, done_, total_);
}

}  // namespace templar
