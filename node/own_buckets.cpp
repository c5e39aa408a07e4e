#include "node/own_buckets.h"

#include "base/error.h"
#include "net/s3/endpoint.h"

#include <chrono>
#include <mutex>

namespace templar {

namespace {

constexpr std::chrono::seconds line_every{5};

std::filesystem::path key_file(const NodeOptions& options) {
    if (!options.credentials.empty()) return options.credentials;
    const std::filesystem::path usual = options.folder / "credentials";
    return std::filesystem::exists(usual) ? usual : std::filesystem::path();
}

// A line every few seconds of a transfer that takes longer.
TransferProgress progress_lines(const std::function<void(const std::string&)>& say) {
    struct State {
        std::mutex mutex;
        std::string key;
        std::chrono::steady_clock::time_point told;
    };
    return [say, state = std::make_shared<State>()](const std::string& key, int64_t done, int64_t total) {
        const auto now = std::chrono::steady_clock::now();
        const std::lock_guard lock(state->mutex);
        if (key != state->key) {
            state->key = key;
            state->told = now;
        }
        if (now - state->told < line_every) return;
        state->told = now;
        say(fmt::format("{}: {:.0f} of {:.0f} MB", key, static_cast<double>(done) / 1e6,
                        static_cast<double>(total) / 1e6));
    };
}

}  // namespace

std::string payload_url(const NodeOptions& options) {
    if (!options.payload_bucket_url.empty()) return options.payload_bucket_url;
    return "file://" + std::filesystem::absolute(options.folder / "bucket").lexically_normal().string();
}

BucketOptions own_bucket_options(const NodeOptions& options, Clock& clock, const std::atomic<bool>& stop) {
    BucketOptions result;
    result.clock = &clock;
    result.credentials = key_file(options);
    result.allow_http = options.allow_http;
    result.stop = &stop;
    if (options.say) result.progress = progress_lines(options.say);
    return result;
}

BucketAddress published_address(const NodeOptions& options, const Bucket& payload_bucket) {
    const std::string url = payload_bucket.url();
    if (!url.starts_with("s3://")) {
        if (options.bucket_url.starts_with("s3://"))
            fail(ExitCode::usage,
                 "the run is at {}, but payloads would go to {}, which nobody else can read: give an s3:// "
                 "bucket "
                 "with --payload-bucket",
                 options.bucket_url, url);
        return {url, {}};
    }
    if (options.read_profile == "none") return {url, {}};
    const std::filesystem::path file = key_file(options);
    S3Credentials read_key;
    try {
        read_key = find_profile(options.read_profile, file).credentials;
    } catch (const Error& error) {
        fail(ExitCode::identity,
             "the others read payloads with a key that is published: expected one that may only read {} as "
             "profile "
             "[{}] (--read-profile; none: the bucket is public): {}",
             url, options.read_profile, error.what());
    }
    // Temporary keys may bear the id of the key that made them.
    for (const std::string& own_url : {payload_url(options), options.bucket_url}) {
        if (!own_url.starts_with("s3://")) continue;
        const std::string profile = parse_s3_url(own_url, "https://endpoint.invalid").profile;
        const S3Credentials own = find_profile(profile, file).credentials;
        const bool same_id = read_key.access_key_id == own.access_key_id && read_key.session_token.empty();
        if (same_id || read_key.secret_access_key == own.secret_access_key)
            fail(ExitCode::identity,
                 "profile [{}] has the key that writes to {}: what is published must be another key that may "
                 "only "
                 "read; otherwise everybody could overwrite and delete there",
                 options.read_profile, own_url);
    }
    return {url, read_key};
}

}  // namespace templar
