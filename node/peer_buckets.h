// Strangers' buckets: opened when they are first read, forgotten window by window.
#pragma once

#include "net/bucket/bucket.h"
#include "net/chain/chain.h"

#include <map>
#include <mutex>
#include <tuple>

namespace templar {

class PeerBuckets {
  public:
    PeerBuckets(const PeerRules& rules, const std::atomic<bool>& stop) : rules_(rules), stop_(stop) {}

    // Valid until close(). Throws Error(input) when the rules forbid it. Safe from several threads at once.
    Bucket& at(const BucketAddress& address);
    // An owner may have moved or made its bucket anew.
    void close();
    // Of all of them, closed ones included.
    TransferStats stats() const;

  private:
    // By URL and key: who publishes another's URL with a key of its own spoils nothing for the other.
    using Place = std::tuple<std::string, std::string, std::string, std::string>;
    PeerRules rules_;
    const std::atomic<bool>& stop_;
    mutable std::mutex mutex_;
    std::map<Place, std::unique_ptr<Bucket>> open_;
    TransferStats closed_;
};

}  // namespace templar
