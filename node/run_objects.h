// What a run's buckets hold, found and checked: for those who take part and those who only look.
#pragma once

#include "engine/compress/layout.h"
#include "net/chain/chain.h"
#include "net/swarm/objects.h"
#include "net/swarm/run.h"
#include "net/wire/payload.h"

namespace templar {

// An object of the run's bucket that must be there. Throws Error(input) when it is not, or longer than max_bytes.
Bytes fetch_whole(Bucket& bucket, const std::string& key, int64_t max_bytes);
// Copies a bucket's object of known hash into a file; a file that already has the hash is kept. Throws Error(input).
void fetch_file(Bucket& bucket, const std::string& key, const std::filesystem::path& path, const Digest& hash,
                int64_t max_bytes);
// data/tokenizer.json, as tokenizer.json in the folder.
void fetch_tokenizer(Bucket& bucket, const Run& run, const std::filesystem::path& folder);

// The genesis weights, in layout order; the caller compares their root. Throws Error(input) naming the tensor that is
// not the run's model's.
std::vector<float> fetch_genesis(Bucket& bucket, const Layout& layout);

// record/<window>; nothing when there is none. Throws Error(input) when what is there is no record by a validator of
// this run.
std::optional<Record> fetch_record(Bucket& bucket, const Run& run, int64_t window);

ChainParams chain_params(const RunDescription& run);

PayloadExpectation payload_expectation(const Run& run, const Layout& layout, int64_t window, const Hotkey& hotkey);
// Throws Error(input) saying what is wrong with the codes of a payload in good wire form.
void check_codes(const Layout& layout, const WirePayload& payload);

struct ArrivedPayload {
    WirePayload payload;
    int64_t modified_ms = 0;
};
// Checked while it arrives; nothing when there is none. Throws as Bucket::fetch.
std::optional<ArrivedPayload> fetch_payload(Bucket& bucket, const Run& run, const Layout& layout, int64_t window,
                                            const Hotkey& hotkey, int64_t budget_ms);

// The buckets that should have an accepted payload: its owner's, then the archives that validators keep; of windows for
// which owners may have deleted theirs the other way round. The recorded hash makes any source as good as another.
std::vector<BucketAddress> payload_sources(const RunDescription& run, const Chain& chain, const Hotkey& owner,
                                           int64_t window, int64_t now_ms);

}  // namespace templar
