// What a run needs from a chain: identities, buckets, published weights, consensus. Here over the ledger;
// another chain is another implementation of this interface.
#pragma once

#include "net/ledger/ledger.h"

#include <map>

namespace templar {

// Where a participant's payloads are, for everyone to read: an s3:// bucket with a key that may only read it
// (empty: the bucket is public), or a file:// folder.
struct BucketAddress {
    std::string url;
    S3Credentials read_key;
    bool operator==(const BucketAddress&) const = default;
};

struct Neuron {
    int64_t uid = 0;
    Hotkey hotkey{};
    BucketAddress bucket;  // where its payloads are read
    std::string role;      // "miner" or "validator": what it calls itself; stake decides what it is
    int64_t joined_ms = 0;
};

struct PublishedWeights {
    int64_t window = 0;
    std::map<Hotkey, double> weights;
};

class Chain {
  public:
    virtual ~Chain() = default;
    // Reads what is new.
    virtual void refresh() = 0;
    // Registers (or updates the bucket of) a participant and returns its uid: the lowest free slot, or, when
    // all are taken, that of the lowest-weight uid past immunity. Throws Error(identity) when there is none.
    virtual int64_t join(const Identity& identity, const BucketAddress& bucket, const std::string& role) = 0;
    // By uid, ascending.
    virtual std::vector<Neuron> neurons() const = 0;
    // Nothing when it is not registered. Valid until the next refresh(), join() or publish_weights().
    virtual const Neuron* find(const Hotkey& hotkey) const = 0;
    // Throws Error(identity) when the run gives this key no stake, Error(input) when a weight is not in 0…1.
    // False when others kept writing first until `until_ms` by the clock.
    virtual bool publish_weights(const Identity& validator, const PublishedWeights& weights,
                                 int64_t until_ms = INT64_MAX) = 0;
    // Says that this validator, at `window`, holds another state than a record claims, and why. For people:
    // changes nothing.
    virtual void publish_dispute(const Identity& validator, int64_t window, const Digest& own_root,
                                 const std::string& reason) = 0;
    // Stake-weighted median clip over the validators' newest weights, for every registered hotkey; their sum
    // is 1, or 0 when no validator gave any. A validator who gave none abstains.
    virtual std::map<Hotkey, double> consensus() const = 0;
    // Latest entry seen, for payload headers.
    virtual uint64_t head_sequence() const = 0;
    virtual Digest head_hash() const = 0;
};

struct ChainParams {
    int64_t max_peers = 250;
    int64_t immunity_ms = 0;         // a newcomer cannot be replaced for this long
    std::map<Hotkey, double> stake;  // of the run's validators
};

// Body forms in the ledger:
// join {"bucket": url, "read_key": {"access_key_id": …, "secret_access_key": …, "session_token": …}, "role":
// text}, leave {}, weights {"window": w, "weights": {hotkey hex: share}}, dispute {"window": w, "root": hex,
// "reason": text}.
//
// Everything follows from the entries in their order, so all readers agree. An entry that means nothing (not
// JSON, unknown kind, weights from a key without stake, a join that finds no slot) has no effect; only a
// broken chain is an error.
//
// A join takes the lowest free uid. When all are taken it takes that of the neuron with the lowest consensus
// weight among those past immunity and without stake; of equals the one that joined first, then the lowest
// uid. A second join of the same key changes its bucket and role only.
//
// Time is the largest time_ms of a join so far. A join whose author dates it more than max_clock_error_ms
// later than the bucket stored it has no effect: nobody buys immunity, or takes away another's, with a false
// date.
inline constexpr int64_t max_clock_error_ms = 60'000;
std::unique_ptr<Chain> make_ledger_chain(Bucket& bucket, Clock& clock, ChainParams params,
                                         const std::atomic<bool>* stop = nullptr);

}  // namespace templar
