// What a validator finds out about a window's submissions before it judges them (docs/protocol.md §8.1).
#include "node/validator.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

void Validator::collect(Window& found) {
    for (const Neuron& peer : follower_.chain().neurons()) {
        if (peer.role != "miner") continue;
        if (found.commits.contains(peer.hotkey) || gauntlet_.active(peer.hotkey, found.window))
            judge_submission(found, peer);
    }
    compare_indices(found);

    const bool own_fault = is_own_fault(found);
    found.verdicts = gauntlet_.stage1(found.window, found.submissions, own_fault);
    gauntlet_.age(found.window);
}

// Nobody is to blame when this validator could not reach most of those it gathers, or when the record before
// came too late for anyone to work in this window.
bool Validator::is_own_fault(const Window& found) {
    const auto list = gather_.find(found.window);
    const bool everyone = list == gather_.end() || list->second.empty();
    int64_t committed = 0, unreachable = 0;
    for (const auto& [hotkey, submission] : found.submissions) {
        if (!everyone && std::find(list->second.begin(), list->second.end(), hotkey) == list->second.end())
            continue;
        committed += submission.fault != Reason::no_commit;
        unreachable += submission.fault == Reason::not_retrievable;
    }
    if (2 * unreachable > committed) return true;
    if (found.window == 0) return false;
    const std::optional<ObjectInfo> before = follower_.bucket().head(record_key(found.window - 1));
    return before && before->modified_ms >= follower_.description().start_ms(found.window + 1);
}

// Of registered miners only: what strangers put beside them costs nothing.
void Validator::read_commits(Window& found) {
    follower_.chain().refresh();
    for (const Neuron& peer : follower_.chain().neurons()) {
        if (peer.role != "miner") continue;
        const std::string key = commit_key(found.window, peer.hotkey);
        try {
            const std::optional<ObjectInfo> info = follower_.bucket().head(key);
            const std::optional<Bytes> object =
                info ? follower_.bucket().get(key, max_commit_bytes) : std::nullopt;
            if (!object) continue;
            const Envelope envelope = unseal(*object, "commit", key);
            if (envelope.author != peer.hotkey) fail(ExitCode::input, "{}: signed by another key", key);
            found.commits[peer.hotkey] = commit_from_json(envelope.body, follower_.run().id, found.window);
            found.committed_ms[peer.hotkey] = info->modified_ms;
        } catch (const Error& error) {
            // Not a commit: as if it were not there, and on the record of this validator.
            follower_.events().write(follower_.clock().now_ms(), "refused",
                                     {{"object", key}, {"reason", error.what()}});
        }
    }
}

void Validator::judge_submission(Window& found, const Neuron& peer) {
    const RunDescription& run = follower_.description();
    const int64_t window = found.window;
    Submission& submission = found.submissions[peer.hotkey];
    auto fault = [&submission](Reason reason, std::string evidence) {
        submission.fault = reason;
        submission.evidence = std::move(evidence);
    };
    const auto commit = found.commits.find(peer.hotkey);
    if (commit == found.commits.end())
        return fault(Reason::no_commit, fmt::format("no valid '{}'", commit_key(window, peer.hotkey)));
    const int64_t commit_late = found.committed_ms[peer.hotkey] - run.start_ms(window + 1);
    if (commit_late >= 0)
        return fault(Reason::late, fmt::format("committed {} ms after the window's end", commit_late));
    if (commit->second.object_bytes != follower_.object_bytes())
        return fault(Reason::malformed, fmt::format("commit promises {} bytes, this run's payloads have {}",
                                                    commit->second.object_bytes, follower_.object_bytes()));
    const Follower::Fetched fetched = follower_.fetch_object(peer.bucket, peer.hotkey, window);
    if (fetched.fault != Reason::none) return fault(fetched.fault, fetched.evidence);
    const int64_t reveal_late = fetched.modified_ms - run.start_ms(window + 1) - run.put_ms;
    if (reveal_late > 0)
        return fault(Reason::late, fmt::format("revealed {} ms after the deadline", reveal_late));
    if (sha256(fetched.object) != commit->second.object_hash)
        return fault(Reason::hash_differs, fmt::format("committed {}, revealed {}",
                                                       to_hex(commit->second.object_hash).substr(0, 16),
                                                       to_hex(sha256(fetched.object)).substr(0, 16)));
    try {
        WirePayload payload = follower_.check_object(fetched.object, window, peer.hotkey);
        if (static_cast<int64_t>(payload.header.tokens) != commit->second.tokens)
            fail(ExitCode::input, "tokens: committed {}, header says {}", commit->second.tokens,
                 payload.header.tokens);
        submission.windows_behind = follower_.windows_behind(payload.header.root);
        const Replica& replica = follower_.replica();
        if (submission.windows_behind == 0 &&
            payload.header.possession != possession_proof(replica.layout(), replica.theta(), replica.root(),
                                                          peer.hotkey, payload.header.window))
            fail(ExitCode::input, "possession proof: not that of state {} and this hotkey",
                 to_hex(replica.root()).substr(0, 16));
        found.payloads.emplace(peer.hotkey, std::move(payload));
        found.objects.emplace(peer.hotkey, fetched.object);
    } catch (const Error& error) {
        fault(Reason::malformed, error.what());
    }
}

// After a restart: the last window's accepted payloads, as far as their owners still have them.
void Validator::recall_previous() {
    const int64_t window = follower_.window() - 1;
    const std::optional<Bytes> object = follower_.bucket().get(record_key(window), max_record_bytes);
    if (!object) return;
    follower_.chain().refresh();
    const Record record =
        record_from_json(unseal(*object, "record", record_key(window)).body, follower_.run().id, window);
    for (const RecordEntry& entry : record.accepted) {
        const Neuron* owner = follower_.chain().find(entry.hotkey);
        if (!owner) continue;
        const Follower::Fetched fetched = follower_.fetch_object(owner->bucket, entry.hotkey, window);
        if (fetched.fault == Reason::none && sha256(fetched.object) == entry.object_hash)
            previous_.emplace(entry.hotkey, follower_.check_object(fetched.object, window, entry.hotkey));
    }
}

// Each payload against those committed before it: this window's earlier commits and everything of the last
// window.
void Validator::compare_indices(Window& found) {
    const Layout& layout = follower_.replica().layout();
    for (const auto& [hotkey, payload] : found.payloads) {
        Submission& submission = found.submissions[hotkey];
        auto compare = [&](const Hotkey& other, const WirePayload& earlier) {
            const double overlap = index_overlap(layout, payload.payload, earlier.payload);
            if (overlap <= submission.overlap) return;
            submission.overlap = overlap;
            submission.overlap_with =
                fmt::format("{} of window {}", to_hex(other).substr(0, 8), earlier.header.window);
        };
        for (const auto& [other, earlier] : found.payloads)
            if (std::pair(found.committed_ms[other], other) < std::pair(found.committed_ms[hotkey], hotkey))
                compare(other, earlier);
        for (const auto& [other, earlier] : previous_)
            if (other != hotkey) compare(other, earlier);
    }
}

}  // namespace templar
