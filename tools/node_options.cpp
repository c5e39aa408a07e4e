#include "tools/node_options.h"

#include "base/error.h"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace templar {

void NodeFlags::add_to(CLI::App& app) {
    app.add_option("--bucket", options.bucket_url, "the run's bucket, e.g. file:///mnt/shared/my-run/bucket")
        ->required();
    app.add_option("--folder", options.folder,
                   "this participant's own folder: key (made when missing, mode 0600), data, checkpoint, "
                   "events.jsonl")
        ->required();
    app.add_option("--payload-bucket", options.payload_bucket_url,
                   "where its payloads go; the others must be able to read it "
                   "(default: the folder 'bucket' in --folder)");
    app.add_option("--run-id", run_id, "64 hex digits: refuse any other run description");
    app.add_option("--threads", options.threads, "processors to use; 0: all")->check(CLI::Range(0, 1024));
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

}  // namespace templar
