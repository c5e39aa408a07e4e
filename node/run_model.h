// The model of a run as it is now, from its bucket alone: without a key, a place in the registry, or anything written
// there.
#pragma once

#include "net/bucket/bucket.h"
#include "weights/saved_model.h"

#include <atomic>
#include <functional>

namespace templar {

struct RunModelOptions {
    std::string bucket_url;
    std::filesystem::path credentials{};  // as in NodeOptions
    bool allow_http = false, allow_private = false;
    std::function<void(int64_t window, int64_t windows)> progress{};  // records applied, of about so many
};

// Applies the run's records to its genesis, each checked against the state it was made from. Its tokenizer.json is put
// into `folder`. Throws Error(input) when the run or its genesis is not what it should be, Error(diverged) when a
// record was made from another state, Error(storage) when an accepted payload is nowhere to be found,
// Error(interrupted) when stopped.
SavedModel load_run_model(const RunModelOptions& options, const std::filesystem::path& folder, Clock& clock,
                          const std::atomic<bool>& stop);

}  // namespace templar
