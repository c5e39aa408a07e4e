// A participant's own buckets: where they are, how they are opened, and what the others are told of them.
#pragma once

#include "net/chain/chain.h"
#include "node/options.h"

namespace templar {

std::string payload_url(const NodeOptions& options);

BucketOptions own_bucket_options(const NodeOptions& options, Clock& clock, const std::atomic<bool>& stop);

// What the join says: the payload bucket and the key that reads it. Throws Error(identity) when there is no
// such key, or when it is one that may write.
BucketAddress published_address(const NodeOptions& options, const Bucket& payload_bucket);

}  // namespace templar
