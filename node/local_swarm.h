// A whole swarm on one machine: names, keys and folders of its participants; and a run of all of them in this
// process on a virtual clock, for tests and for results that must be the same every time.
#pragma once

#include "node/create.h"
#include "node/miner.h"
#include "node/validator.h"

#include <string>
#include <vector>

namespace templar {

struct LocalPeer {
    std::string name;  // "validator-1", "miner-3", "copycat-1", "noise-1"
    std::string role;  // "validator", "miner", "copycat", "noise"
    std::filesystem::path folder;
    Hotkey hotkey{};
    std::string payload_url;  // s3://…; empty: the folder's own
};

struct LocalSwarmOptions {
    std::filesystem::path folder;
    std::vector<std::filesystem::path> texts;
    std::string text_description;  // for the report: which text this is
    int validators = 1, miners = 4, copycats = 1, noise = 1;
    int64_t start_delay_ms = 3000;  // from creation to the first window, when run.t0_ms is 0
    RunDescription run;             // validators are filled in
    uint64_t seed = 42;             // genesis; and, when `seeded_keys`, the participants' keys
    bool seeded_keys = false;
    // A key file with the sections `run` and NAME and NAME-read of every participant: keys, endpoint and
    // region of buckets of these names (tools/s3_server.sh writes one). Empty: everything is in folders.
    std::filesystem::path s3_credentials{};
    // Where the run is made when neither the folder nor s3_credentials says: any bucket, for participants
    // elsewhere.
    std::string bucket_url{};
    BucketOptions bucket{};
    std::vector<Hotkey> other_validators{};  // by rank, after those made here
    const std::atomic<bool>* stop = nullptr;
    std::function<void(const std::string&)> say;
};

struct LocalSwarm {
    std::filesystem::path folder;
    std::string bucket_url;
    std::vector<LocalPeer> peers;  // validators first
    CreatedRun created;
};

// Makes the run (in folder/bucket, s3://run or bucket_url), folder/peers/<name>/key, with s3_credentials also
// folder/peers/<name>/credentials (profiles run, payload and read), and folder/swarm.json (read by report).
// Throws Error(input) when the folder holds a run already.
LocalSwarm create_local_swarm(const LocalSwarmOptions& options, Clock& clock);

struct VirtualRunOptions {
    int64_t windows = 20;
    DeviceChoice device{.name = "cpu", .threads = 1};  // of each participant
    int64_t tokens_per_window = 2048;
    int64_t micro_batch = 4;
    std::vector<size_t> start_order;          // positions in LocalSwarm::peers; empty: as they are
    const std::atomic<bool>* stop = nullptr;  // ends the run early when it becomes true
    // How they open their own buckets: NodeOptions::open.
    decltype(NodeOptions::open) open = open_bucket;
    // A participant's devices, instead of `device`; may be empty.
    std::function<std::vector<std::unique_ptr<Device>>(const LocalPeer&)> open_devices{};
};

// Runs every participant in a thread of this process until the last window is applied. Returns the final
// state roots in the order of LocalSwarm::peers. `clock` must stand before the run's t0. Rethrows the first
// participant's error after all have ended.
std::vector<Digest> run_virtual(const LocalSwarm& swarm, const VirtualRunOptions& options,
                                VirtualClock& clock);

}  // namespace templar
