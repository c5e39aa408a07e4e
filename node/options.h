// What every participant is told by its operator.
#pragma once

#include "base/sha256.h"
#include "kernels/device.h"
#include "net/bucket/bucket.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace templar {

struct NodeOptions {
    std::string bucket_url;          // the run's coordination bucket
    std::filesystem::path folder;    // this participant's own: key, data, checkpoint, events.jsonl
    std::string payload_bucket_url;  // where its payloads go; empty: folder/bucket
    Digest expected_run{};           // run_id the operator expects; zeros: take what is there
    DeviceChoice device{.name = "cpu"};  // where it computes; several: a miner trains on all, else the first
    int64_t last_window = -1;        // stop after applying this window's record; -1: never
    std::function<void(const std::string&)> say{};  // lines for the operator; empty: silent

    // s3:// buckets
    std::filesystem::path
        credentials{};  // key file; empty: folder/credentials when it is there, else S3's usual places
    std::string read_profile =
        "read";                  // whose key everyone may read the payloads with; "none": it takes no key
    bool allow_http = false;     // without TLS, own and strangers' alike
    bool allow_private = false;  // strangers' at private addresses
    // How own buckets are opened: what a test puts something in between with.
    std::function<std::unique_ptr<Bucket>(const std::string& url, const BucketOptions& options)> open =
        open_bucket;
    // How the devices are opened: a test brings its own.
    std::function<std::vector<std::unique_ptr<Device>>(const DeviceChoice& choice)> open_devices = templar::open_devices;
};

}  // namespace templar
