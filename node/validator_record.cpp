// What a validator decides about a window: who is gathered, whose payloads count (docs/protocol.md §6, §8.4).
#include "engine/optim/schedule.h"
#include "base/in_parallel.h"
#include "node/validator.h"

#include <algorithm>
#include <bit>

namespace templar {

namespace {

// How long an object waits for the archive's bucket to take it.
constexpr int64_t unarchived_windows = 4;

}  // namespace

// The gather list of a window that begins two windows from now (§8.4).
std::vector<Hotkey> Validator::choose_gather(int64_t window) {
    const RunDescription& run = follower_.description();
    const std::map<Hotkey, double> consensus = follower_.chain().consensus();
    std::vector<std::pair<double, Hotkey>> weighted;
    std::vector<Hotkey> active, unrated;
    for (const Neuron& peer : follower_.chain().neurons()) {
        if (peer.role != "miner" || !gauntlet_.active(peer.hotkey, window)) continue;
        const auto state = gauntlet_.peers().find(peer.hotkey);
        if (state != gauntlet_.peers().end() && state->second.banned_until > window) continue;
        active.push_back(peer.hotkey);
        if (state == gauntlet_.peers().end() || !state->second.rated) unrated.push_back(peer.hotkey);
        const auto weight = consensus.find(peer.hotkey);
        if (weight != consensus.end() && weight->second > 0)
            weighted.emplace_back(weight->second, peer.hotkey);
    }
    std::vector<Hotkey> list;
    if (weighted.empty()) {
        list = active;  // nobody has a weight yet: everyone who works, by uid
    } else {
        std::stable_sort(weighted.begin(), weighted.end(),
                         [](const auto& a, const auto& b) { return a.first > b.first; });
        for (const auto& [weight, hotkey] : weighted) list.push_back(hotkey);
        if (!unrated.empty()) {
            std::sort(unrated.begin(), unrated.end());
            CounterRng rng(Sha256().update("explorer").update(secret(window)).finish());
            const size_t place = std::min(list.size(), static_cast<size_t>(run.gather_peers - 1));
            list.insert(list.begin() + static_cast<int64_t>(place), unrated[rng.below(unrated.size())]);
        }
    }
    if (list.size() > static_cast<size_t>(run.gather_peers + run.reserve_peers))
        list.resize(static_cast<size_t>(run.gather_peers + run.reserve_peers));
    return list;
}

Record Validator::make_record(const Window& found) {
    const RunDescription& run = follower_.description();
    Record record;
    record.run_id = follower_.run().id;
    record.window = found.window;
    record.root = follower_.replica().root();
    record.step = follower_.step();
    const float eta = learning_rate(run.schedule, follower_.step());
    record.eta_bits = std::bit_cast<uint32_t>(eta);
    record.keep_bits =
        std::bit_cast<uint32_t>(static_cast<float>(1.0 - static_cast<double>(eta) * run.weight_decay));

    // The first windows have no list: everyone who committed is on it.
    std::vector<Hotkey> wanted;
    if (auto list = gather_.find(found.window); list != gather_.end() && !list->second.empty())
        wanted = list->second;
    else
        for (const Neuron& peer : follower_.chain().neurons()) wanted.push_back(peer.hotkey);

    std::vector<Hotkey> chosen;  // reserves take the places of those who were refused
    for (const Hotkey& hotkey : wanted) {
        const auto verdict = found.verdicts.find(hotkey);
        if (verdict == found.verdicts.end()) continue;
        if (verdict->second.accepted && chosen.size() < static_cast<size_t>(run.gather_peers))
            chosen.push_back(hotkey);
    }
    for (const Neuron& peer : follower_.chain().neurons()) {
        const auto verdict = found.verdicts.find(peer.hotkey);
        if (verdict == found.verdicts.end()) continue;
        if (std::find(chosen.begin(), chosen.end(), peer.hotkey) != chosen.end())
            record.accepted.push_back({peer.uid, peer.hotkey, found.commits.at(peer.hotkey).object_hash});
        else if (!verdict->second.accepted)
            record.rejected.push_back({peer.uid, peer.hotkey,
                                       std::string(reason_name(verdict->second.penalty.reason)),
                                       verdict->second.penalty.evidence});
    }

    const bool refresh = gather_now_.empty() || found.window % run.gather_refresh_windows == 0;
    const std::vector<Hotkey> list = refresh ? choose_gather(found.window) : gather_now_;
    const auto main_size = static_cast<int64_t>(std::min(list.size(), static_cast<size_t>(run.gather_peers)));
    record.gather.assign(list.begin(), list.begin() + main_size);
    record.reserve.assign(list.begin() + main_size, list.end());
    return record;
}

// The record of the window: the one that is there, else this validator's. The run waits for it, so an outage
// is sat out. Empty when stopped.
std::optional<Record> Validator::settle_record(const Window& found) {
    Outages& outages = follower_.outages();
    Bucket& bucket = follower_.bucket();
    std::optional<Record> record;
    // After a restart the record may be there already: what peers show now must not change what was archived
    // for it.
    if (!outages.reached_by(Outages::forever, bucket, [&] { record = find_record_or_dispute(); }))
        return std::nullopt;
    if (record) return record;
    const Record own = make_record(found);
    archive(own, found);
    if (!outages.reached_by(Outages::forever, bucket, [&] { record = write_record(own); }))
        return std::nullopt;
    return record;
}

// Into the archive, all at the same time. Returns the keys of those that are not there now.
std::vector<std::string> Validator::put_all(const ObjectsByKey& objects, int64_t budget_ms) {
    Bucket& bucket = follower_.payload_bucket();
    const std::vector<std::pair<std::string, const Bytes*>> list(objects.begin(), objects.end());
    std::vector<char> done(list.size(), 0);
    follower_.outages().reached(bucket, [&] {
        in_parallel(std::ssize(list), [&](int64_t job) {
            const auto i = static_cast<size_t>(job);
            bucket.put(list[i].first, *list[i].second, budget_ms);
            done[i] = 1;
        });
    });
    std::vector<std::string> missing;
    for (size_t i = 0; i < list.size(); ++i)
        if (!done[i]) missing.push_back(list[i].first);
    return missing;
}

// Before the record says that they count, the accepted objects are where everyone can read them. A bucket
// that is slow is not waited for longer than another validator would wait for the record, and one that has
// not taken all of the last windows' not at all: their owners have them, too.
void Validator::archive(const Record& record, const Window& found) {
    ObjectsByKey objects;
    for (const RecordEntry& entry : record.accepted)
        objects[payload_key(record.window, entry.hotkey)] = &found.payloads.at(entry.hotkey).object;
    std::vector<std::string> missing;
    if (unarchived_.empty()) {
        missing = put_all(objects, follower_.description().record_ms);
    } else {
        for (const auto& [key, object] : objects) missing.push_back(key);
    }
    for (const std::string& key : missing) unarchived_[key] = *objects.at(key);
    for (const RecordEntry& entry : record.accepted) archived_.insert(entry.object_hash);
}

// When another validator's record counts, its payloads are kept here too: one archive is none.
void Validator::archive_others(const Record& record, const Payloads& payloads) {
    for (const RecordEntry& entry : record.accepted)
        if (!archived_.contains(entry.object_hash))
            unarchived_[payload_key(record.window, entry.hotkey)] = payloads.at(entry.hotkey).object;
    archived_.clear();
}

void Validator::archive_leftovers() {
    if (unarchived_.empty()) return;
    const int64_t oldest = std::max<int64_t>(0, follower_.window() - unarchived_windows);
    std::erase_if(unarchived_, [&](const auto& entry) { return entry.first < payload_key(oldest, {}); });
    ObjectsByKey objects;
    for (const auto& [key, object] : unarchived_) objects[key] = &object;
    std::map<std::string, Bytes> left;
    const int64_t now = follower_.clock().now_ms();
    const RunDescription& run = follower_.description();
    const int64_t budget_ms = std::max(run.put_ms, run.start_ms(follower_.window() + 1) - now);
    for (const std::string& key : put_all(objects, budget_ms)) left[key] = std::move(unarchived_.at(key));
    unarchived_ = std::move(left);
}

// Write-once: when another validator was first, its record counts.
Record Validator::write_record(const Record& record) {
    const std::string key = record_key(record.window);
    const Bytes object = seal(follower_.identity(), "record", record_to_json(record));
    if (follower_.bucket().create(key, object)) return record;
    if (std::optional<Record> found = find_record_or_dispute()) return *found;
    follower_.bucket().put(key, object);  // a stranger's bytes were in the record's place
    // Another validator may have done the same.
    if (std::optional<Record> found = find_record_or_dispute()) return *found;
    return record;
}

// A record made from another state than this validator's is disputed before the error goes on.
std::optional<Record> Validator::find_record_or_dispute() {
    try {
        return follower_.find_record();
    } catch (const Error& error) {
        if (error.code() == ExitCode::diverged)
            follower_.outages().reached(follower_.bucket(), [&] {
                follower_.chain().publish_dispute(follower_.identity(), follower_.window(),
                                                  follower_.replica().root(), error.what());
            });
        throw;
    }
}

}  // namespace templar
