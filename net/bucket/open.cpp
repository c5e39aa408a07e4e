#include "base/error.h"
#include "net/bucket/file_bucket.h"

namespace templar {

std::unique_ptr<Bucket> open_bucket(const std::string& url, bool create, Clock* clock) {
    constexpr std::string_view file = "file://";
    if (url.starts_with("s3://"))
        fail(ExitCode::usage, "bucket {}: S3 is not offered by this version; use file:///absolute/folder",
             url);
    if (!url.starts_with(file)) fail(ExitCode::usage, "bucket \"{}\": expected file:///absolute/folder", url);
    const std::filesystem::path folder = url.substr(file.size());
    if (!folder.is_absolute())
        fail(ExitCode::usage,
             "bucket {}: expected an absolute folder after file://, as in file:///home/me/run", url);
    // One trailing '/' is no part of the name.
    return std::make_unique<FileBucket>(folder.has_filename() ? folder : folder.parent_path(), create, clock);
}

}  // namespace templar
