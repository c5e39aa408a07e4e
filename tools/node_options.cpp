#include "tools/node_options.h"

#include "base/error.h"
#include "tools/device_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace templar {

void NodeFlags::add_to(CLI::App& app) {
    options.device.name = "auto";
    app.add_option("--bucket", options.bucket_url,
                   "the run's bucket: file:///absolute/folder, or\n"
                   "s3://bucket[/prefix]?endpoint=https://host&region=auto&profile=run")
        ->required();
    app.add_option("--folder", options.folder,
                   "this participant's own folder: key (made when missing, mode 0600), data, checkpoint, "
                   "events.jsonl")
        ->required();
    app.add_option("--payload-bucket", options.payload_bucket_url,
                   "where its payloads go; the others must be able to read it "
                   "(default: the folder 'bucket' in --folder)");
    app.add_option("--credentials", options.credentials,
                   "key file of s3:// buckets, mode 0600: sections [profile] with aws_access_key_id and "
                   "aws_secret_access_key "
                   "(default: FOLDER/credentials when it is there, else what AWS's tools read)");
    app.add_option("--read-profile", options.read_profile,
                   "the profile whose key is published for everyone to read an s3:// payload bucket with; it "
                   "must not be able to write. none: the bucket is public");
    app.add_flag("--allow-http", options.allow_http, "s3:// without TLS, own and strangers' (for tests)");
    app.add_flag("--allow-private", options.allow_private,
                 "strangers' s3:// buckets at private addresses, such as this machine's (for tests)");
    app.add_option("--run-id", run_id, "64 hex digits: refuse any other run description");
    add_device_flags(app, options.device);
    app.add_option("--last-window", options.last_window, "leave after this window; -1: never")
        ->check(CLI::Range(int64_t{-1}, int64_t{1} << 40));
}

NodeOptions NodeFlags::parsed(const std::string& program) const {
    NodeOptions result = options;
    result.say = [program](const std::string& line) {
        std::fprintf(stderr, "%s: %s\n", program.c_str(), line.c_str());
    };
    if (!run_id.empty()) {
        try {
            result.expected_run = digest_from_hex(run_id, "--run-id");
        } catch (const Error& error) {
            throw Error(ExitCode::usage, error.what());
        }
    }
    return result;
}

int run_participant(const std::string& program, const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        const bool cut_off = error.code() == ExitCode::storage || error.code() == ExitCode::interrupted;
        if (!cut_off || !stop_requested()) throw;
        std::fprintf(stderr, "%s: stopped\n", program.c_str());
    }
    return stop_requested() ? static_cast<int>(ExitCode::interrupted) : 0;
}

}  // namespace templar
