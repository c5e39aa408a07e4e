#include "base/error.h"
#include "net/bucket/file_bucket.h"
#include "net/bucket/s3_bucket.h"

namespace templar {

namespace {

constexpr std::string_view file_scheme = "file://";
constexpr std::string_view s3_scheme = "s3://";

// Not the strangers' number, so that even where these may lead to private addresses own requests never queue
// behind theirs.
constexpr int own_connections = 64;

// A stranger's bucket must not hold anybody up.
constexpr S3Policy peer_policy{
    .parallel_parts = 2, .budget_ms = 20'000, .stall_ms = 5'000, .longest_pause_ms = 2'000};
// All peers of a run at the same time, some of which may never let go.
constexpr int peer_connections = 512;

std::filesystem::path folder_of(const std::string& url) {
    const std::filesystem::path folder = url.substr(file_scheme.size());
    if (!folder.is_absolute())
        fail(ExitCode::usage,
             "bucket {}: expected an absolute folder after file://, as in file:///home/me/run", url);
    // One trailing '/' is no part of the name.
    return folder.has_filename() ? folder : folder.parent_path();
}

std::unique_ptr<Bucket> open_s3(const std::string& url, const BucketOptions& options) {
    // The profile may say where the endpoint is, and the URL which profile: any endpoint will do to find that
    // out.
    const std::string name = parse_s3_url(url, "https://endpoint.invalid").profile;
    S3Profile profile = find_profile(name, options.credentials);
    S3Location location = parse_s3_url(url, profile.endpoint, profile.region);
    if (!location.https && !options.allow_http)
        fail(ExitCode::usage,
             "bucket {}: over http anybody on the way can read what is sent: use an https endpoint, or say "
             "--allow-http",
             location.url());
    auto transport = Transport::shared(
        {.allow_http = options.allow_http, .allow_private = true, .max_connections = own_connections});
    S3Client client(std::move(transport), std::move(location), std::move(profile.credentials), {},
                    options.stop);
    client.progress = options.progress;
    return std::make_unique<S3Bucket>(std::move(client));
}

S3Location parse_stranger(const std::string& url) {
    try {
        S3Location location = parse_s3_url(url);
        if (location.profile.empty()) return location;
        fail(ExitCode::input, "bucket {}: names a profile, which only its owner has", location.url());
    } catch (const Error& error) {
        throw Error(ExitCode::input, redact(error.what(), {}));
    }
}

std::unique_ptr<Bucket> open_s3_peer(const std::string& url, const S3Credentials& read_key,
                                     const PeerRules& rules, const std::atomic<bool>* stop) {
    S3Location location = parse_stranger(url);
    check_stranger_endpoint(location, rules.allow_http, rules.allow_private);
    auto transport = Transport::shared({.allow_http = rules.allow_http,
                                        .allow_private = rules.allow_private,
                                        .max_connections = peer_connections});
    return std::make_unique<S3Bucket>(
        S3Client(std::move(transport), std::move(location), read_key, peer_policy, stop));
}

}  // namespace

std::unique_ptr<Bucket> open_bucket(const std::string& url, const BucketOptions& options) {
    if (url.starts_with(file_scheme))
        return std::make_unique<FileBucket>(folder_of(url), options.create, options.clock);
    if (url.starts_with(s3_scheme)) return open_s3(url, options);
    fail(ExitCode::usage,
         "bucket \"{}\": expected file:///absolute/folder or s3://bucket?endpoint=https://host", url);
}

std::unique_ptr<Bucket> open_peer_bucket(const std::string& url, const S3Credentials& read_key,
                                         const PeerRules& rules, const std::atomic<bool>* stop) {
    if (url.starts_with(s3_scheme)) return open_s3_peer(url, read_key, rules, stop);
    if (!url.starts_with(file_scheme))
        fail(ExitCode::input, "bucket {}: expected file:///absolute/folder or s3://…", redact(url, {}));
    if (!rules.allow_file)
        fail(ExitCode::input, "bucket {}: a folder, but this run is not in a folder of this machine",
             redact(url, {}));
    if (!std::filesystem::path(url.substr(file_scheme.size())).is_absolute())
        fail(ExitCode::input, "bucket {}: expected an absolute folder", redact(url, {}));
    return std::make_unique<FileBucket>(folder_of(url), false, nullptr);
}

}  // namespace templar
