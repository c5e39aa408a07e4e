// What miner and validator have in common: a replica that follows the run, record by record.
#pragma once

#include "base/events.h"
#include "base/file.h"
#include "engine/replica/replica.h"
#include "net/swarm/objects.h"
#include "net/swarm/run.h"
#include "net/wire/payload.h"
#include "node/options.h"
#include "node/outages.h"
#include "node/peer_buckets.h"

#include <deque>
#include <memory>
#include <optional>

namespace templar {

// A window's accepted payloads, decoded and checked.
using Payloads = std::map<Hotkey, WirePayload>;

class Follower {
  public:
    // Opens the run, fetches and verifies its data and genesis, resumes from folder/checkpoint when there is
    // one. Throws Error with the reason when anything is missing or not what the run description says.
    Follower(const NodeOptions& options, const std::string& role, Clock& clock,
             const std::atomic<bool>& stop);
    ~Follower();

    const Run& run() const { return run_; }
    const RunDescription& description() const { return run_.description; }
    const Identity& identity() const { return identity_; }
    Replica& replica() { return *replica_; }
    Chain& chain() { return *chain_; }
    Bucket& bucket() { return *bucket_; }
    Bucket& payload_bucket() { return *payload_bucket_; }
    // Whatever asks these two for something after the start does it through this.
    Outages& outages() { return outages_; }
    Clock& clock() { return clock_; }
    EventLog& events() { return events_; }
    const Corpus& corpus() const { return *corpus_; }
    const Corpus& heldout() const { return *heldout_; }
    // The replica's; `devices` begins with it.
    Device& device() { return *devices_[0]; }
    std::vector<Device*> devices() const;
    int64_t uid() const { return uid_; }
    bool stopping() const { return stop_.load(); }
    void say(const std::string& line) const {
        if (options_.say) options_.say(line);
    }
    const NodeOptions& options() const { return options_; }

    // The window whose state the replica holds (theta_w), and how many non-empty records led to it.
    int64_t window() const { return window_; }
    int64_t step() const { return step_; }
    // How many windows ago `root` was the state; empty when it is not among the last 16.
    std::optional<int64_t> windows_behind(const Digest& root) const;

    // When the run's bucket passes the moment `ms`, by the local clock, should that be fast.
    int64_t local_time(int64_t ms) const;
    // False when stopped before the deadline.
    bool sleep_until(int64_t deadline_ms) { return clock_.sleep_until(deadline_ms, stop_); }

    // record/<window()>, verified against this replica; empty when it is not there yet, or when what is there
    // is no record by a validator of this run. Throws Error(diverged) when the record was made from another
    // state.
    std::optional<Record> find_record();
    // Waits for it; empty when stopped.
    std::optional<Record> wait_for_record();
    // The payloads a record lists: from `known` (already compared with the record's hashes), else from their
    // owners' buckets or a validator's archive, all at the same time, retried until found. Empty when
    // stopped.
    std::optional<Payloads> fetch_payloads(const Record& record, const Payloads& known);
    // Applies the record of window() and moves on to the next window.
    void apply(const Record& record, const Payloads& payloads);
    // Applies every record that exists already.
    void catch_up();

    // A hotkey's payload of a window as the bucket at `address` holds it, in wire form and checked while it
    // arrives, or why not; given up after budget_ms. Safe from several threads at once.
    struct Fetched {
        std::optional<WirePayload> payload;
        int64_t modified_ms = 0;
        Reason fault = Reason::none;
        std::string evidence;
    };
    Fetched fetch_object(const BucketAddress& address, const Hotkey& hotkey, int64_t window,
                         int64_t budget_ms);
    // The length of every wire object of this run.
    int64_t object_bytes() const;
    // Of an object at hand. Throws Error(input) saying which check it fails: wire form, then payload_fault.
    WirePayload check_object(const Bytes& object, int64_t window, const Hotkey& hotkey) const;

    // Local state that survives kill −9: theta, window and step, plus the caller's momentum and text.
    void save_state(std::vector<float> momentum, const std::string& extra);
    // What save_state stored, from the checkpoint this object resumed from (empty on a fresh start).
    const std::vector<float>& saved_momentum() const { return saved_momentum_; }
    const std::string& saved_extra() const { return saved_extra_; }

    // All that its own and strangers' buckets moved since the start.
    TransferStats traffic() const;

  private:
    void check_payload_bucket(const BucketAddress& address);
    void open_data();
    void open_genesis();
    void describe_model();
    void check_clock();
    std::optional<WirePayload> find_payload(const RecordEntry& entry,
                                            const std::vector<BucketAddress>& places, int64_t budget_ms,
                                            std::string& trouble);
    void remember_root();

    NodeOptions options_;
    Clock& clock_;
    const std::atomic<bool>& stop_;
    std::vector<std::unique_ptr<Device>> devices_;
    std::unique_ptr<Bucket> bucket_;
    Run run_;  // opened before anything of this participant's own is made
    Descriptor lock_;
    EventLog events_;
    Identity identity_;
    std::unique_ptr<Bucket> payload_bucket_;
    PeerBuckets peer_buckets_;
    Outages outages_;
    std::unique_ptr<Chain> chain_;
    std::unique_ptr<Corpus> corpus_, heldout_;
    std::unique_ptr<Replica> replica_;
    std::deque<std::pair<int64_t, Digest>> roots_;
    std::vector<float> saved_momentum_;
    std::string saved_extra_;
    int64_t uid_ = -1, window_ = 0, step_ = 0;
    int64_t refused_record_ = -1;        // window whose record was reported as a stranger's
    int64_t told_clock_difference_ = 0;  // milliseconds
};

}  // namespace templar
