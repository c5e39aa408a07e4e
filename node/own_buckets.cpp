#include "node/own_buckets.h"

#include "base/error.h"

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

BucketAddress published_address(const NodeOptions&, const Bucket& payload_bucket) {
    return {payload_bucket.url(), {}};
}

}  // namespace templar
