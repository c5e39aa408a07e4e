#include "node/peer_buckets.h"

namespace templar {

Bucket& PeerBuckets::at(const BucketAddress& address) {
    const S3Credentials& key = address.read_key;
    const std::lock_guard lock(mutex_);
    std::unique_ptr<Bucket>& bucket =
        open_[{address.url, key.access_key_id, key.secret_access_key, key.session_token}];
    if (!bucket) bucket = open_peer_bucket(address.url, key, rules_, &stop_);
    return *bucket;
}

void PeerBuckets::close() {
    const std::lock_guard lock(mutex_);
    for (const auto& [place, bucket] : open_)
        if (bucket) closed_ = closed_ + bucket->stats();
    open_.clear();
}

TransferStats PeerBuckets::stats() const {
    const std::lock_guard lock(mutex_);
    TransferStats sum = closed_;
    for (const auto& [place, bucket] : open_)
        if (bucket) sum = sum + bucket->stats();
    return sum;
}

}  // namespace templar
