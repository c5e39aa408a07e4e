#include "net/ledger/ledger.h"

#include "base/error.h"
#include "base/random.h"
#include "base/strict_json.h"

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t max_sequence = int64_t{1} << 62;
constexpr size_t max_kind_bytes = 32;
constexpr int max_tries = 100;
constexpr uint64_t most_at_once = 256;

// The body of an entry; its author stands in the envelope.
void describe(JsonFields& f, LedgerEntry& entry) {
    int64_t sequence = static_cast<int64_t>(entry.sequence);
    f.integer("sequence", sequence, 0, max_sequence);
    entry.sequence = static_cast<uint64_t>(sequence);
    f.digest("previous", entry.previous);
    f.integer("time_ms", entry.time_ms, 0, max_sequence);
    f.text("kind", entry.kind, max_kind_bytes);
    f.text("payload", entry.payload, max_ledger_entry_bytes);
}

// How long to wait after a lost race: longer after every loss, another time for every author, and with a
// virtual clock the same in every run.
constexpr size_t max_skipped = 64;

int64_t jitter_ms(const Hotkey& author, uint64_t sequence, int tries) {
    Sha256 key;
    key.update("ledger jitter").update(author).update_le(sequence).update_le(int32_t{tries});
    const uint64_t longest = uint64_t{2} << std::min(tries, 9);
    return 1 + static_cast<int64_t>(CounterRng(key.finish()).below(longest));
}

}  // namespace

std::string ledger_key(uint64_t sequence) {
    return fmt::format("ledger/{:020}", sequence);
}

LedgerEntry Ledger::read(ByteSpan object) const {
    const std::string what = ledger_key(next_);
    Envelope envelope = unseal(object, "ledger", what);
    LedgerEntry entry;
    read_json(envelope.body, what, [&](JsonFields& f) { describe(f, entry); });
    entry.author = envelope.author;
    entry.hash = sha256(object);
    if (entry.sequence != next_)
        fail(ExitCode::input, "{}: sequence: expected {}, found {}", what, next_, entry.sequence);
    if (entry.previous != head_)
        fail(ExitCode::input, "{}: previous: expected {}, found {}: the chain is broken before it", what,
             to_hex(head_), to_hex(entry.previous));
    return entry;
}

void Ledger::follow(const std::function<void(const LedgerEntry&)>& apply) {
    for (uint64_t count = 1;; count = std::min(2 * count, most_at_once)) {
        std::vector<std::string> keys;
        for (uint64_t i = 0; i < count; ++i) keys.push_back(ledger_key(next_ + i));
        for (GetResult& result : bucket_.get_many(keys, max_ledger_entry_bytes))
            if (!take(std::move(result), apply)) return;
    }
}

// What stands at next_; false when nothing does.
bool Ledger::take(GetResult result, const std::function<void(const LedgerEntry&)>& apply) {
    if (!result.object && !result.error) return false;
    std::optional<LedgerEntry> entry;
    // An object whose bytes cannot be read by anyone has this in place of their hash.
    Digest link = Sha256().update("skipped").update(head_).update_le(next_).finish();
    try {
        if (result.error) throw Error(*result.error);
        link = sha256(result.object->bytes);
        entry = read(result.object->bytes);
        entry->stored_ms = result.object->modified_ms;
    } catch (const Error& error) {
        if (error.code() != ExitCode::input) throw;
        skipped_.push_back({next_, error.what()});
        if (skipped_.size() > max_skipped) skipped_.erase(skipped_.begin());
    }
    if (entry) apply(*entry);
    ++next_;
    head_ = link;
    return true;
}

std::optional<LedgerEntry> Ledger::append(const Identity& author, std::string_view kind,
                                          std::string_view payload,
                                          const std::function<void(const LedgerEntry&)>& apply,
                                          const std::function<bool()>& still_wanted) {
    const std::atomic<bool> never{false};
    const std::atomic<bool>& stop = stop_ ? *stop_ : never;
    for (int tries = 0; tries < max_tries; ++tries) {
        follow(apply);
        if (still_wanted && !still_wanted()) return std::nullopt;
        LedgerEntry entry;
        entry.sequence = next_;
        entry.previous = head_;
        entry.time_ms = clock_.now_ms();
        entry.kind = kind;
        entry.payload = payload;
        const std::string key = ledger_key(next_);
        const Bytes object =
            seal(author, "ledger", write_json(key, [&](JsonFields& f) { describe(f, entry); }));
        if (static_cast<int64_t>(object.size()) > max_ledger_entry_bytes)
            fail(ExitCode::input, "{}: a {} entry of {} bytes, expected at most {}", key, kind, object.size(),
                 max_ledger_entry_bytes);
        if (bucket_.create(key, object)) {
            follow([&](const LedgerEntry& found) {
                if (found.sequence == entry.sequence) entry = found;
                apply(found);
            });
            return entry;
        }
        if (!clock_.sleep_until(clock_.now_ms() + jitter_ms(author.hotkey(), next_, tries), stop))
            fail(ExitCode::interrupted, "ledger: stopped while others were first");
    }
    fail(ExitCode::storage, "ledger: others were first {} times; the bucket {} is too busy, try again later",
         max_tries, bucket_.url());
}

}  // namespace templar
