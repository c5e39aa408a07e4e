// What a validator finds out about a window's submissions before it judges them (docs/protocol.md §8.1).
#include "base/in_parallel.h"
#include "node/validator.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

// Everything is fetched and checked at the same time, so that who is slow holds up nobody else, and not past
// the moment when the record is due. Those who are to be gathered come first, should there be more peers than
// threads. What follows does not depend on who was faster.
void Validator::collect(Window& found) {
    std::vector<Neuron> peers;
    for (const Neuron& peer : follower_.chain().neurons())
        if (peer.role == "miner" &&
            (found.commits.contains(peer.hotkey) || gauntlet_.active(peer.hotkey, found.window)))
            peers.push_back(peer);
    if (const auto list = gather_.find(found.window); list != gather_.end())
        std::stable_partition(peers.begin(), peers.end(), [&](const Neuron& peer) {
            return std::find(list->second.begin(), list->second.end(), peer.hotkey) != list->second.end();
        });
    const RunDescription& run = follower_.description();
    // A validator that was away finds everything there and needs only the time to read it.
    const int64_t deadline_ms =
        std::max(record_due_ms(found.window), follower_.clock().now_ms() + run.record_ms);
    std::vector<Judged> judged(peers.size());
    in_parallel(
        static_cast<int64_t>(peers.size()),
        [&](int64_t job) {
            const auto i = static_cast<size_t>(job);
            judged[i] = judge_submission(found, peers[i], deadline_ms);
        },
        std::ssize(peers));  // who dawdles holds up nobody
    for (size_t i = 0; i < peers.size(); ++i) {
        const Hotkey& hotkey = peers[i].hotkey;
        found.submissions.emplace(hotkey, std::move(judged[i].submission));
        if (judged[i].payload) found.payloads.emplace(hotkey, std::move(*judged[i].payload));
    }
    compare_indices(found);

    const bool own_fault = is_own_fault(found);
    found.verdicts = gauntlet_.stage1(found.window, found.submissions, own_fault);
    gauntlet_.age(found.window);
}

// Nobody is to blame when this validator could not reach most of those it gathers, or when the record before
// came so late that half of the window was over before anyone could work in it.
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
    std::optional<ObjectInfo> before;
    if (!follower_.outages().reached(follower_.bucket(),
                                     [&] { before = follower_.bucket().head(record_key(found.window - 1)); }))
        return true;
    const RunDescription& run = follower_.description();
    return before && before->modified_ms >= run.start_ms(found.window) + run.window_ms() / 2;
}

// Of registered miners only: what strangers put beside them costs nothing. An outage of the whole bucket is
// sat out, because the record goes there, too; single commits that it does not give are asked for again until
// `until_ms`. False when stopped.
bool Validator::read_commits(Window& found, int64_t until_ms) {
    Outages& outages = follower_.outages();
    Bucket& bucket = follower_.bucket();
    if (!outages.reached_by(Outages::forever, bucket, [this] { follower_.chain().refresh(); })) return false;
    for (const Neuron& peer : follower_.chain().neurons())
        if (peer.role == "miner") found.unread.insert(peer.hotkey);
    const int64_t least_ms = follower_.clock().now_ms() + follower_.description().record_ms;
    const auto read = [&] {
        std::vector<Hotkey> hotkeys;
        std::vector<std::string> keys;
        for (const Hotkey& hotkey : found.unread) {
            hotkeys.push_back(hotkey);
            keys.push_back(commit_key(found.window, hotkey));
        }
        std::optional<Error> trouble;
        const std::vector<GetResult> results = bucket.get_many(keys, max_commit_bytes);
        for (size_t i = 0; i < results.size(); ++i) {
            const std::optional<Error>& error = results[i].error;
            if (error && error->code() != ExitCode::input) {
                trouble = error;
                continue;
            }
            found.unread.erase(hotkeys[i]);
            take_commit(found, hotkeys[i], results[i]);
        }
        if (trouble) throw Error(*trouble);
    };
    outages.reached_by(std::max(until_ms, least_ms), bucket, read, "reading commits");
    return !follower_.stopping();
}

void Validator::take_commit(Window& found, const Hotkey& hotkey, const GetResult& result) {
    if (!result.object && !result.error) return;
    const std::string key = commit_key(found.window, hotkey);
    try {
        if (result.error) throw Error(*result.error);
        const Envelope envelope = unseal(result.object->bytes, "commit", key);
        if (envelope.author != hotkey) fail(ExitCode::input, "{}: signed by another key", key);
        found.commits[hotkey] = commit_from_json(envelope.body, follower_.run().id, found.window);
        found.committed_ms[hotkey] = result.object->modified_ms;
    } catch (const Error& error) {
        // Not a commit: as if it were not there, and on the record of this validator.
        follower_.events().write(follower_.clock().now_ms(), "refused",
                                 {{"object", key}, {"reason", error.what()}});
    }
}

// Runs beside others of its kind: reads what they read, changes nothing but its result.
Validator::Judged Validator::judge_submission(const Window& found, const Neuron& peer, int64_t deadline_ms) {
    const RunDescription& run = follower_.description();
    const int64_t window = found.window;
    Judged judged;
    auto fault = [&judged](Reason reason, std::string evidence) {
        judged.submission.fault = reason;
        judged.submission.evidence = std::move(evidence);
        return std::move(judged);
    };
    const auto commit = found.commits.find(peer.hotkey);
    if (found.unread.contains(peer.hotkey))
        return fault(Reason::not_retrievable, std::string("its commit could not be read"));
    if (commit == found.commits.end())
        return fault(Reason::no_commit, fmt::format("no valid '{}'", commit_key(window, peer.hotkey)));
    const int64_t commit_late = found.committed_ms.at(peer.hotkey) - run.start_ms(window + 1);
    if (commit_late >= 0)
        return fault(Reason::late, fmt::format("committed {} ms after the window's end", commit_late));
    if (commit->second.object_bytes != follower_.object_bytes())
        return fault(Reason::malformed, fmt::format("commit promises {} bytes, this run's payloads have {}",
                                                    commit->second.object_bytes, follower_.object_bytes()));
    Follower::Fetched fetched =
        follower_.fetch_object(peer.bucket, peer.hotkey, window, deadline_ms - follower_.clock().now_ms());
    if (!fetched.payload) return fault(fetched.fault, std::move(fetched.evidence));
    const int64_t reveal_late = fetched.modified_ms - run.start_ms(window + 1) - run.put_ms;
    if (reveal_late > 0)
        return fault(Reason::late, fmt::format("revealed {} ms after the deadline", reveal_late));
    WirePayload& payload = *fetched.payload;
    const Digest hash = sha256(payload.object);
    if (hash != commit->second.object_hash)
        return fault(Reason::hash_differs, fmt::format("committed {}, revealed {}",
                                                       to_hex(commit->second.object_hash).substr(0, 16),
                                                       to_hex(hash).substr(0, 16)));
    if (static_cast<int64_t>(payload.header.tokens) != commit->second.tokens)
        return fault(Reason::malformed, fmt::format("tokens: committed {}, header says {}",
                                                    commit->second.tokens, payload.header.tokens));
    judged.submission.windows_behind = follower_.windows_behind(payload.header.root);
    const Replica& replica = follower_.replica();
    if (judged.submission.windows_behind == 0 &&
        payload.header.possession != replica.possession_proof(peer.hotkey, payload.header.window))
        return fault(Reason::malformed, fmt::format("possession proof: not that of state {} and this hotkey",
                                                    to_hex(replica.root()).substr(0, 16)));
    judged.payload = std::move(payload);
    return judged;
}

// After a restart: the last window's accepted payloads, as far as their owners still have them.
void Validator::recall_previous() {
    const int64_t window = follower_.window() - 1;
    Record record;
    std::vector<BucketAddress> places;
    try {
        follower_.outages().reached(follower_.bucket(), [&] {
            const std::optional<Bytes> object = follower_.bucket().get(record_key(window), max_record_bytes);
            if (!object) return;
            follower_.chain().refresh();
            const Envelope envelope = unseal(*object, "record", record_key(window));
            const auto& validators = follower_.description().validators;
            if (std::any_of(validators.begin(), validators.end(),
                            [&](const auto& validator) { return validator.hotkey == envelope.author; }))
                record = record_from_json(envelope.body, follower_.run().id, window);
        });
    } catch (const Error& error) {
        return note_trouble(error);  // a stranger's object in the record's place
    }
    std::erase_if(record.accepted, [this](const RecordEntry& entry) {
        return follower_.chain().find(entry.hotkey) == nullptr;
    });
    for (const RecordEntry& entry : record.accepted)
        places.push_back(follower_.chain().find(entry.hotkey)->bucket);
    std::vector<std::optional<WirePayload>> recalled(places.size());
    in_parallel(static_cast<int64_t>(places.size()), [&](int64_t job) {
        const auto i = static_cast<size_t>(job);
        const RecordEntry& entry = record.accepted[i];
        Follower::Fetched fetched =
            follower_.fetch_object(places[i], entry.hotkey, window, follower_.description().put_ms);
        if (fetched.payload && sha256(fetched.payload->object) == entry.object_hash)
            recalled[i] = std::move(fetched.payload);
    });
    for (size_t i = 0; i < recalled.size(); ++i)
        if (recalled[i]) previous_.emplace(record.accepted[i].hotkey, std::move(*recalled[i]));
}

// Each payload against those committed before it: this window's earlier commits and everything of the last
// window.
void Validator::compare_indices(Window& found) {
    const Layout& layout = follower_.replica().layout();
    for (const auto& [hotkey, payload] : found.payloads) {
        Submission& submission = found.submissions[hotkey];
        auto compare = [&](const Hotkey& other, const WirePayload& earlier) {
            const double overlap = index_overlap(layout, payload.payload(), earlier.payload());
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
