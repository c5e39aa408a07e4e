// Writing an object: in one request, or, when it is long, in equal parts that a later call can take up again.
#include "net/s3/client_impl.h"

#include <openssl/evp.h>

#include <algorithm>

namespace templar {

namespace {

using Md5 = std::array<uint8_t, 16>;

constexpr int64_t most_parts = 10'000;
constexpr int64_t abort_budget_ms = 5'000;

Md5 md5(ByteSpan bytes) {
    Md5 sum;
    if (EVP_Digest(bytes.data(), bytes.size(), sum.data(), nullptr, EVP_md5(), nullptr) != 1)
        fail(ExitCode::internal, "OpenSSL refused to compute an MD5");
    return sum;
}

std::string base64(const Md5& sum) {
    std::array<uint8_t, 25> text;  // with a final 0
    EVP_EncodeBlock(text.data(), sum.data(), sum.size());
    return reinterpret_cast<const char*>(text.data());
}

bool has_md5_form(std::string_view etag) {
    return etag.size() == 32 && etag.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

// With a key of the service's or the caller's, an ETag looks like an MD5 and is none.
bool is_encrypted(const HttpResponse& answer) {
    return answer.header("x-amz-server-side-encryption").starts_with("aws:kms") ||
           !answer.header("x-amz-server-side-encryption-customer-algorithm").empty();
}

S3Ask put_ask(const std::string& key, ByteSpan body, const Md5& sum) {
    S3Ask ask{.method = "PUT", .key = key};
    ask.headers = {{"Content-MD5", base64(sum)}};
    ask.body = body;
    ask.may_hide_error = true;  // some gateways
    ask.doubt = [hex = to_hex(sum)](const HttpResponse& answer) -> std::string {
        const std::string etag = etag_of(answer);
        // No S3 service's: a proxy's page, or an error in a 200. Nothing says that anything was stored.
        if (etag.empty()) return "an answer without an ETag";
        if (!has_md5_form(etag) || is_encrypted(answer) || etag == hex) return "";
        return fmt::format("stored with ETag {}, expected {}", etag, hex);
    };
    return ask;
}

bool same_object(S3Core& core, const std::string& key, ByteSpan bytes, S3Budget budget) {
    const std::optional<S3Object> there = s3_head(core, key, budget);
    if (!there || there->size != std::ssize(bytes)) return false;
    Bytes found(bytes.size());
    return s3_download(core, key, 0, there->size, found, budget, nullptr, nullptr) &&
           std::equal(found.begin(), found.end(), bytes.begin());
}

bool put_whole(S3Core& core, const std::string& key, ByteSpan bytes, bool create_only, S3Budget budget,
               const TransferProgress& tell) {
    S3Progress progress(tell, key, std::ssize(bytes));
    S3Ask ask = put_ask(key, bytes, md5(bytes));
    if (create_only) ask.headers.push_back({"If-None-Match", "*"});
    S3Call call(core, budget, std::move(ask));
    call.run();
    if (call.good()) {
        progress.add(std::ssize(bytes));
        return true;
    }
    if (!create_only || call.status() != 412) call.refuse();
    // It may be this very call that created it, in a try whose answer was lost.
    if (!call.maybe_done()) return false;
    if (same_object(core, key, bytes, budget)) return true;
    if (call.doubted()) call.refuse("the service stored other bytes: remove the object");
    return false;
}

// The service knows the upload no more.
struct UploadGone {};

class Multipart {
  public:
    Multipart(S3Core& core, const std::string& key, ByteSpan bytes, bool create_only, S3Budget budget,
              const TransferProgress& tell)
        : core_(core),
          key_(key),
          bytes_(bytes),
          create_only_(create_only),
          budget_(budget),
          progress_(tell, key, std::ssize(bytes)),
          part_bytes_(
              std::max<int64_t>(core.policy.put_part_bytes, 1 + (std::ssize(bytes) - 1) / most_parts)),
          sums_(static_cast<size_t>(1 + (std::ssize(bytes) - 1) / part_bytes_)) {}

    bool run() {
        // Ceph 16 completes an upload whatever If-None-Match says: there, this look is all that keeps the
        // object.
        if (create_only_ && s3_head(core_, key_, budget_)) return false;
        for (bool again = false;; again = true) try {
                parts_.assign(sums_.size(), {});
                progress_.restart();
                if (again || !resume()) begin();
                send_parts();
                return complete();
            } catch (const UploadGone&) {
                // R2 ends an upload whose completion it refuses because the object exists: perhaps that
                // answer was lost.
                if (create_only_ && s3_head(core_, key_, budget_)) return false;
                if (again)
                    s3_fail(
                        core_, ExitCode::storage,
                        fmt::format("{}: its upload was removed twice while it went on: is another process "
                                    "writing this object?",
                                    s3_name(core_, key_)));
            } catch (...) {
                abort(upload_);
                throw;
            }
    }

  private:
    ByteSpan part(size_t index) const {
        const size_t begin = index * static_cast<size_t>(part_bytes_);
        return bytes_.subspan(begin, std::min(static_cast<size_t>(part_bytes_), bytes_.size() - begin));
    }
    const Md5& sum(size_t index) {
        if (!sums_[index]) sums_[index] = md5(part(index));
        return *sums_[index];
    }

    // Goes on with an upload of this object that was cut off, when one has parts that are ours. The others
    // may be another process's that is still at it: what nobody finishes is removed by sweep_unfinished. Not
    // being allowed to look for one is no reason not to write.
    bool resume() {
        try {
            for (const S3Upload& upload : s3_unfinished_uploads(core_, key_, budget_)) {
                if (upload.key != key_ || !take_parts(upload)) continue;
                upload_ = upload;
                return true;
            }
        } catch (const Error& error) {
            if (error.code() != ExitCode::storage) throw;
            parts_.assign(sums_.size(), {});
        }
        return false;
    }

    bool take_parts(const S3Upload& upload) {
        int64_t marker = 0;
        int64_t taken = 0;
        for (S3PartPage page{{}, true}; page.truncated; marker = page.next_marker) {
            S3Ask ask{.method = "GET", .key = key_};
            ask.query = {{"uploadId", upload.upload_id}, {"max-parts", "1000"}};
            if (marker > 0) ask.query.push_back({"part-number-marker", std::to_string(marker)});
            ask.max_body = s3_page_bytes;
            S3Call call(core_, budget_, std::move(ask));
            const HttpResponse& answer = call.run();
            if (call.status() == 404) return false;
            if (!call.good()) call.refuse();
            page = s3_parsed(core_, answer, parse_parts);
            if (page.truncated && page.next_marker <= marker) break;
            for (const S3Part& there : page.parts) {
                if (there.number < 1 || there.number > std::ssize(parts_)) continue;
                const auto index = static_cast<size_t>(there.number - 1);
                if (there.size != std::ssize(part(index)) || there.etag != to_hex(sum(index))) continue;
                parts_[index] = there;
                taken += there.size;
            }
        }
        progress_.add(taken);
        return taken > 0;
    }

    void begin() {
        S3Ask ask{.method = "POST", .key = key_, .query = {{"uploads", std::nullopt}}};
        S3Call call(core_, budget_, std::move(ask));
        const HttpResponse& answer = call.run();
        if (!call.good()) call.refuse();
        upload_ = {key_, s3_parsed(core_, answer, parse_upload_id), 0};
    }

    void send_parts() {
        size_t looked_at = 0;
        const auto next = [&]() -> std::unique_ptr<S3Call> {
            while (looked_at < parts_.size() && parts_[looked_at].number != 0) ++looked_at;
            if (looked_at == parts_.size()) return nullptr;
            const size_t index = looked_at++;
            S3Ask ask = put_ask(key_, part(index), sum(index));
            ask.query = {{"partNumber", std::to_string(index + 1)}, {"uploadId", upload_.upload_id}};
            ask.streams = core_.policy.parallel_parts;
            return std::make_unique<S3Call>(core_, budget_, std::move(ask), static_cast<int64_t>(index));
        };
        run_calls(core_.policy.parallel_parts, next, [&](S3Call& call) {
            const HttpResponse& answer = call.answer();
            if (call.status() == 404) throw UploadGone{};
            if (!call.good()) call.refuse();
            const int64_t size = std::ssize(part(static_cast<size_t>(call.tag())));
            parts_[static_cast<size_t>(call.tag())] = {call.tag() + 1, size, etag_of(answer)};
            progress_.add(size);
        });
    }

    // The ETag that the whole will have: of the parts' MD5s together.
    std::string expected_etag() {
        Bytes all;
        for (size_t index = 0; index < sums_.size(); ++index)
            all.insert(all.end(), sum(index).begin(), sum(index).end());
        return fmt::format("{}-{}", to_hex(md5(all)), sums_.size());
    }

    bool is_there(const std::string& etag) {
        const std::optional<S3Object> there = s3_head(core_, key_, budget_);
        return there && there->size == std::ssize(bytes_) && there->etag == etag;
    }

    bool complete() {
        const std::string etag = expected_etag();
        const std::string body = complete_upload_body(parts_);
        S3Ask ask{.method = "POST", .key = key_, .query = {{"uploadId", upload_.upload_id}}};
        if (create_only_) ask.headers.push_back({"If-None-Match", "*"});
        ask.body = as_bytes(body);
        ask.streams = 0;  // the service may send blanks for as long as it works
        ask.may_hide_error = true;
        ask.already_done = [&] { return is_there(etag); };
        S3Call call(core_, budget_, std::move(ask));
        const HttpResponse& answer = call.run();
        if (call.settled()) return true;
        if (call.good()) return is_completed(answer, etag);
        if (call.maybe_done() && is_there(etag)) return true;
        if (call.status() == 404) throw UploadGone{};
        if (!create_only_ || call.status() != 412) call.refuse();
        abort(upload_);
        return false;
    }

    // False when another writer's object is there.
    bool is_completed(const HttpResponse& answer, const std::string& expected) {
        std::string etag;
        try {
            etag = parse_completed_etag(answer.body);
        } catch (const Error& error) {  // Ceph 16 leaves the ETag empty
            if (is_there(expected)) return true;
            if (create_only_ && s3_head(core_, key_, budget_)) return false;
            s3_fail(core_, ExitCode::storage,
                    fmt::format("{}: expected the answer of an S3 service: {}", s3_name(core_, key_),
                                error.what()));
        }
        const size_t dash = etag.find('-');
        const bool is_md5 = dash != std::string::npos && has_md5_form(etag.substr(0, dash));
        if (!is_md5 || is_encrypted(answer) || etag == expected) return true;
        s3_fail(core_, ExitCode::storage,
                fmt::format("{}: stored with ETag {}, expected {}: the service has other bytes; remove the "
                            "object and try again",
                            s3_name(core_, key_), etag, expected));
    }

    // As well as that goes: what stays is removed by sweep_unfinished.
    void abort(const S3Upload& upload) {
        if (upload.upload_id.empty()) return;
        try {
            s3_abort_upload(core_, upload, S3Budget::of(core_.policy, 0, abort_budget_ms), false);
        } catch (const Error&) {
        }
    }

    S3Core& core_;
    const std::string& key_;
    ByteSpan bytes_;
    bool create_only_;
    S3Budget budget_;
    S3Progress progress_;
    int64_t part_bytes_;
    std::vector<std::optional<Md5>> sums_;
    std::vector<S3Part> parts_;  // number 0: not there yet
    S3Upload upload_;
};

bool upload(S3Core& core, const std::string& key, ByteSpan bytes, bool create_only, int64_t budget_ms,
            const TransferProgress& tell) {
    const S3Budget budget = S3Budget::of(core.policy, std::ssize(bytes), budget_ms);
    return std::ssize(bytes) > core.policy.multipart_bytes
               ? Multipart(core, key, bytes, create_only, budget, tell).run()
               : put_whole(core, key, bytes, create_only, budget, tell);
}

}  // namespace

bool S3Client::create(const std::string& key, ByteSpan bytes, int64_t budget_ms) {
    return upload(*impl_, key, bytes, true, budget_ms, progress);
}

void S3Client::put(const std::string& key, ByteSpan bytes, int64_t budget_ms) {
    upload(*impl_, key, bytes, false, budget_ms, progress);
}

std::vector<S3Upload> s3_unfinished_uploads(S3Core& core, const std::string& prefix, S3Budget budget) {
    constexpr size_t page_entries = 1000;
    std::vector<S3Upload> found;
    for (size_t page_size = page_entries; page_size == page_entries && std::ssize(found) < most_parts;) {
        S3Ask ask{.method = "GET"};
        ask.query = {{"uploads", std::nullopt}, {"max-uploads", std::to_string(page_entries)}};
        if (!prefix.empty()) ask.query.push_back({"prefix", prefix});
        if (!found.empty()) {
            ask.query.push_back({"key-marker", found.back().key});
            ask.query.push_back({"upload-id-marker", found.back().upload_id});
        }
        ask.max_body = s3_page_bytes;
        S3Call call(core, budget, std::move(ask));
        const HttpResponse& answer = call.run();
        if (!call.good()) call.refuse();
        std::vector<S3Upload> page = s3_parsed(core, answer, parse_uploads);
        page_size = page.size();
        std::move(page.begin(), page.end(), std::back_inserter(found));
    }
    return found;
}

void s3_abort_upload(S3Core& core, const S3Upload& upload, S3Budget budget, bool obey_stop) {
    S3Ask ask{.method = "DELETE", .key = upload.key, .query = {{"uploadId", upload.upload_id}}};
    ask.obey_stop = obey_stop;
    S3Call call(core, budget, std::move(ask));
    call.run();
    if (!call.good() && call.status() != 404) call.refuse();
}

}  // namespace templar
