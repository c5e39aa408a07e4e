#include "node/follower.h"

#include "base/error.h"
#include "base/in_parallel.h"
#include "node/run_objects.h"
#include "weights/checkpoint.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t poll_ms = 50;
constexpr size_t remembered_roots = 16;
constexpr int64_t clock_limit_ms = 2000;

}  // namespace

void Follower::remember_root() {
    roots_.emplace_back(window_, replica_->root());
    if (roots_.size() > remembered_roots) roots_.pop_front();
}

std::optional<int64_t> Follower::windows_behind(const Digest& root) const {
    // Newest first: a record without payloads leaves the root as it was.
    for (auto it = roots_.rbegin(); it != roots_.rend(); ++it)
        if (it->second == root) {
            int64_t behind = 0;  // counted in changes of state, not in windows during which nothing moved
            for (auto newer = roots_.rbegin(); newer != it; ++newer) behind += newer->second != root;
            return behind;
        }
    return std::nullopt;
}

std::optional<Record> Follower::find_record() {
    const std::string key = record_key(window_);
    std::optional<Record> record;
    try {
        record = fetch_record(*bucket_, run_, window_);
        if (!record) return std::nullopt;
    } catch (const Error& error) {
        if (error.code() != ExitCode::input) throw;
        // A stranger's object in the record's place: a validator will replace it.
        if (refused_record_ != window_) {
            refused_record_ = window_;
            events_.write(clock_.now_ms(), "refused", {{"object", key}, {"reason", error.what()}});
            say(error.what());
        }
        return std::nullopt;
    }
    if (record->root != replica_->root())
        fail(ExitCode::diverged,
             "{}: made from state {}, but this replica's state at window {} is {}; remove {} to start again "
             "from genesis",
             key, to_hex(record->root), window_, to_hex(replica_->root()), options_.folder.string());
    return record;
}

// Nobody may write it before it is due; then its writer needs a moment. In a folder looking costs nothing;
// elsewhere it is paid for.
std::optional<Record> Follower::wait_for_record() {
    const RunDescription& run = description();
    const int64_t due_ms = run.start_ms(window_ + 1) + run.put_ms + run.record_ms;
    const bool folder = options_.bucket_url.starts_with("file://");
    Pace pace(poll_ms, folder ? poll_ms : longest_pause_ms(run.window_ms()));
    // Much later than this something is wrong with every validator.
    const int64_t expected_ms = run.start_ms(window_ + 2);
    bool told = false;
    if (!sleep_until(due_ms + pace.next())) return std::nullopt;
    for (;;) {
        std::optional<Record> record;
        const bool reached = outages_.reached(*bucket_, [&] { record = find_record(); });
        if (record) return record;
        if (reached && !told && clock_.now_ms() > expected_ms) {
            told = true;
            say(fmt::format("window {}: no '{}' yet; is a validator running?", window_, record_key(window_)));
        }
        if (!sleep_until(clock_.now_ms() + pace.next())) return std::nullopt;
    }
}

int64_t Follower::object_bytes() const {
    return wire_object_bytes(replica_->layout().payload_bytes);
}

Follower::Fetched Follower::fetch_object(const BucketAddress& address, const Hotkey& hotkey, int64_t window,
                                         int64_t budget_ms) {
    Bucket* bucket = nullptr;
    try {
        bucket = &peer_buckets_.at(address);
        std::optional<ArrivedPayload> found =
            fetch_payload(*bucket, run_, replica_->layout(), window, hotkey, budget_ms);
        if (!found)
            return {{}, 0, Reason::not_retrievable, fmt::format("no object '{}'", payload_key(window, hotkey))};
        return {std::move(found->payload), found->modified_ms, Reason::none, {}};
    } catch (const Error& error) {
        if (bucket && error.code() == ExitCode::input) return {{}, 0, Reason::malformed, error.what()};
        // Why is for this operator: published, it would tell a stranger what this machine can connect to.
        events_.write(clock_.now_ms(), "unreachable",
                      {{"hotkey", to_hex(hotkey)}, {"window", window}, {"reason", error.what()}});
        return {{}, 0, Reason::not_retrievable, "its bucket could not be read"};
    }
}

WirePayload Follower::check_object(const Bytes& object, int64_t window, const Hotkey& hotkey) const {
    WirePayload payload = decode_payload(object, payload_expectation(run_, replica_->layout(), window, hotkey));
    check_codes(replica_->layout(), payload);
    return payload;
}

std::optional<WirePayload> Follower::find_payload(const RecordEntry& entry,
                                                  const std::vector<BucketAddress>& places, int64_t budget_ms,
                                                  std::string& trouble) {
    trouble = "neither its owner nor a validator has joined";
    for (const BucketAddress& place : places) {
        Fetched fetched = fetch_object(place, entry.hotkey, window_, budget_ms);
        if (fetched.payload && sha256(fetched.payload->object) == entry.object_hash)
            return std::move(fetched.payload);
        trouble = fetched.payload ? "its bytes are not the recorded ones" : fetched.evidence;
    }
    return std::nullopt;
}

std::optional<Payloads> Follower::fetch_payloads(const Record& record, const Payloads& known) {
    Payloads payloads;
    std::vector<RecordEntry> missing;
    for (const RecordEntry& entry : record.accepted)
        if (const auto it = known.find(entry.hotkey); it != known.end())
            payloads.emplace(entry.hotkey, it->second);
        else
            missing.push_back(entry);
    Pace pace(poll_ms, 2000);
    for (int64_t tries = 1; !missing.empty(); ++tries) {
        outages_.reached(*bucket_, [this] { chain_->refresh(); });
        std::vector<std::vector<BucketAddress>> places;
        for (const RecordEntry& entry : missing) places.push_back(payload_sources(description(), *chain_, entry.hotkey, window_, clock_.now_ms()));
        std::vector<std::optional<WirePayload>> found(missing.size());
        std::vector<std::string> troubles(missing.size());
        // What could be uploaded within put_ms can be read within it; a source that dawdles must not keep us
        // from the next one, and a slow line gets more time with every try.
        const int64_t budget_ms = tries * description().put_ms;
        in_parallel(static_cast<int64_t>(missing.size()), [&](int64_t job) {
            const auto i = static_cast<size_t>(job);
            found[i] = find_payload(missing[i], places[i], budget_ms, troubles[i]);
        });
        std::vector<RecordEntry> still;
        std::string trouble;
        for (size_t i = 0; i < missing.size(); ++i) {
            if (found[i]) {
                payloads.emplace(missing[i].hotkey, std::move(*found[i]));
                continue;
            }
            if (still.empty()) trouble = troubles[i];
            still.push_back(missing[i]);
        }
        missing = std::move(still);
        if (missing.empty()) break;
        if (tries == 20) {
            const std::string message =
                fmt::format("window {}: still waiting for {} payloads; that of {}: {}", window_,
                            missing.size(), to_hex(missing.front().hotkey).substr(0, 8), trouble);
            events_.write(clock_.now_ms(), "error", {{"message", message}});
            say(message);
        }
        if (!sleep_until(clock_.now_ms() + pace.next())) return std::nullopt;
    }
    return payloads;
}

void Follower::apply(const Record& record, const Payloads& payloads) {
    std::vector<std::span<const uint8_t>> views;
    for (const RecordEntry& entry : record.accepted) views.push_back(payloads.at(entry.hotkey).payload());
    replica_->apply(
        {.eta = std::bit_cast<float>(record.eta_bits), .keep = std::bit_cast<float>(record.keep_bits)},
        views);
    if (!views.empty()) step_ = record.step + 1;
    ++window_;
    remember_root();
    peer_buckets_.close();
    check_clock();
}

void Follower::catch_up() {
    while (!stopping()) {
        std::optional<Record> record;
        if (!outages_.reached_by(Outages::forever, *bucket_, [&] { record = find_record(); }) || !record)
            return;
        const std::optional<Payloads> payloads = fetch_payloads(*record, {});
        if (!payloads) return;
        apply(*record, *payloads);
    }
}

int64_t Follower::local_time(int64_t ms) const {
    constexpr int64_t tolerated_ms = 1000;  // the service tells whole seconds
    const std::optional<int64_t> difference = bucket_->clock_difference_ms();
    return difference && *difference < -tolerated_ms ? ms - *difference : ms;
}

TransferStats Follower::traffic() const {
    return bucket_->stats() + payload_bucket_->stats() + peer_buckets_.stats();
}

// Deadlines are judged by the bucket's clock and met by this machine's.
void Follower::check_clock() {
    const std::optional<int64_t> now = bucket_->clock_difference_ms();
    if (!now || std::abs(*now - told_clock_difference_) <= clock_limit_ms) return;
    told_clock_difference_ = std::abs(*now) > clock_limit_ms ? *now : 0;
    events_.write(clock_.now_ms(), "clock", {{"difference_ms", *now}});
    say(told_clock_difference_ == 0
            ? "this machine's clock agrees with the bucket's again"
            : fmt::format(
                  "this machine's clock is {:.0f} s {} the bucket's, which judges deadlines; set it (NTP)",
                  std::abs(static_cast<double>(*now)) / 1000.0, *now > 0 ? "behind" : "ahead of"));
}

void Follower::save_state(std::vector<float> momentum, const std::string& extra) {
    Checkpoint checkpoint;
    checkpoint.window = static_cast<uint64_t>(window_);
    checkpoint.step = step_;
    checkpoint.root = replica_->root();
    checkpoint.theta = replica_->host_theta();
    checkpoint.momentum = std::move(momentum);
    checkpoint.extra = to_hex(run_.id) + "\n" + extra;
    save_checkpoint(options_.folder, checkpoint);
}

}  // namespace templar
