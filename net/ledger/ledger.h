// An append-only log in a bucket (docs/protocol.md §2): objects ledger/<20-digit sequence>, each created
// once, each naming the hash of the one before.
#pragma once

#include "net/bucket/bucket.h"
#include "net/wire/envelope.h"

#include <functional>

namespace templar {

struct LedgerEntry {
    uint64_t sequence = 0;
    Digest previous{};  // SHA-256 of the previous entry's object bytes; zeros for the first
    int64_t time_ms = 0;
    std::string kind;  // join, leave, weights, checkpoint, dispute
    Hotkey author{};
    std::string payload;    // JSON text, by kind
    Digest hash{};          // SHA-256 of this entry's object bytes
    int64_t stored_ms = 0;  // by the bucket's clock; time_ms is only its author's word
};

inline constexpr int64_t max_ledger_entry_bytes = 64 * 1024;
std::string ledger_key(uint64_t sequence);

class Ledger {
  public:
    // `stop`, when given, ends append's waiting early.
    Ledger(Bucket& bucket, Clock& clock, const std::atomic<bool>* stop = nullptr)
        : bucket_(bucket), clock_(clock), stop_(stop) {}

    // Reads what is new, verifying sequence, chain and signatures; calls `apply` for each. An object that is
    // no entry (not signed as one, another sequence or previous hash, too long) has no effect but stays a
    // link of the chain, for every reader alike: anyone who may write to the bucket can put one there, and
    // must not stop the run with it. At most 64 KiB per entry. Asks for the next entry alone, and for more at
    // a time as long as there are any: looking costs one request, a newcomer's ten thousand entries a few
    // dozen round trips.
    void follow(const std::function<void(const LedgerEntry&)>& apply);

    // Appends; on losing the race for a sequence number re-reads (calling `apply` for what it finds) and
    // retries with jitter. `apply` is given the new entry too. Returns the entry as written; Error(storage)
    // when others were first too many times, Error(interrupted) when stopped. `still_wanted`, when given, is
    // asked before every try: false ends with nothing appended.
    std::optional<LedgerEntry> append(const Identity& author, std::string_view kind, std::string_view payload,
                                      const std::function<void(const LedgerEntry&)>& apply,
                                      const std::function<bool()>& still_wanted = nullptr);

    // The newest objects that were no entries, and why.
    struct Skipped {
        uint64_t sequence;
        std::string reason;
    };
    const std::vector<Skipped>& skipped() const { return skipped_; }

    uint64_t next_sequence() const { return next_; }
    const Digest& head() const { return head_; }

  private:
    LedgerEntry read(ByteSpan object) const;
    bool take(GetResult result, const std::function<void(const LedgerEntry&)>& apply);

    Bucket& bucket_;
    Clock& clock_;
    const std::atomic<bool>* stop_;
    uint64_t next_ = 0;
    Digest head_{};
    std::vector<Skipped> skipped_;
};

}  // namespace templar
