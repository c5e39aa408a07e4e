#include "base/error.h"
#include "net/bucket/file_bucket.h"

namespace templar {

namespace {

std::filesystem::path folder_of(const std::string& url) {
    constexpr std::string_view file = "file://";
    const std::filesystem::path folder = url.substr(file.size());
    if (!folder.is_absolute())
        fail(ExitCode::usage,
             "bucket {}: expected an absolute folder after file://, as in file:///home/me/run", url);
    // One trailing '/' is no part of the name.
    return folder.has_filename() ? folder : folder.parent_path();
}

}  // namespace

std::unique_ptr<Bucket> open_bucket(const std::string& url, const BucketOptions& options) {
    if (url.starts_with("file://"))
        return std::make_unique<FileBucket>(folder_of(url), options.create, options.clock);
    fail(ExitCode::usage,
         "bucket \"{}\": expected file:///absolute/folder or s3://bucket?endpoint=https://host", url);
}

std::unique_ptr<Bucket> open_peer_bucket(const std::string& url, const S3Credentials&, const PeerRules& rules,
                                         const std::atomic<bool>*) {
    if (url.starts_with("file://")) {
        if (!rules.allow_file)
            fail(ExitCode::input, "bucket {}: a folder, but this run is not in a folder of this machine",
                 url);
        return std::make_unique<FileBucket>(folder_of(url), false, nullptr);
    }
    fail(ExitCode::input, "bucket {}: expected file:///absolute/folder or s3://…", url);
}

}  // namespace templar
