// What an operator wants to know of a bucket before joining a run.
#pragma once

#include "net/bucket/bucket.h"

#include <string>

namespace templar {

// Tries, with small objects of its own that are gone afterwards, everything a participant does with a bucket,
// and prints a line for each. With a profile for reading: that its key can read, and can do no harm. True
// when all is as it should be.
bool check_bucket(const std::string& url, const BucketOptions& options, const std::string& read_profile);

}  // namespace templar
