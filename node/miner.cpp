#include "node/miner.h"

#include "base/error.h"
#include "node/phase_timer.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

namespace {

std::string saved_text(const std::string& pending_object_hash) {
    return nlohmann::json{{"pending", pending_object_hash}}.dump();
}

}  // namespace

Behaviour behaviour_from_name(std::string_view name) {
    if (name == "honest") return Behaviour::honest;
    if (name == "copycat") return Behaviour::copycat;
    if (name == "noise") return Behaviour::noise;
    fail(ExitCode::usage, "behaviour '{}': expected honest, copycat or noise", name);
}

Miner::Miner(const MinerOptions& options, Clock& clock, const std::atomic<bool>& stop)
    : options_(options),
      follower_(options.node, "miner", clock, stop),
      trainer_(follower_.devices(), follower_.description().model, follower_.replica().layout(), options.micro_batch,
               follower_.description().seq, follower_.description().beta),
      payload_(static_cast<size_t>(follower_.replica().layout().payload_bytes)) {
    if (!follower_.saved_momentum().empty()) trainer_.set_momentum(follower_.saved_momentum());
}

std::filesystem::path Miner::outbox() const {
    return options_.node.folder / "outbox";
}

void Miner::run() {
    follower_.catch_up();
    while (!follower_.stopping() &&
           (options_.node.last_window < 0 || follower_.window() <= options_.node.last_window))
        mine_window();
}

// For one more micro-batch and what follows it.
int64_t Miner::time_needed_ms() const {
    return static_cast<int64_t>(finish_ms_ + commit_ms_ + batch_ms_);
}

bool Miner::in_time_to_train() {
    const RunDescription& run = follower_.description();
    return follower_.clock().now_ms() + time_needed_ms() < run.start_ms(follower_.window() + 1);
}

// One window: train, compress, commit before its end, reveal after it, apply its record.
void Miner::mine_window() {
    const RunDescription& run = follower_.description();
    const int64_t window = follower_.window();
    const TransferStats before = follower_.traffic();
    phases_.clear();
    if (!follower_.sleep_until(run.start_ms(window))) return;

    std::optional<Work> work = saved_work();
    if (!work && in_time_to_train()) {
        switch (options_.behaviour) {
            case Behaviour::honest:
                work = train();
                break;
            case Behaviour::copycat:
                work = copy_another();
                break;
            case Behaviour::noise:
                work = make_noise();
                break;
        }
    }
    if (follower_.stopping()) return;
    if (!work) forget_slowness();
    const bool committed = work && commit(*work);
    if (committed) {
        {
            const PhaseTimer timer(phases_, "wait");
            if (!follower_.sleep_until(run.start_ms(window + 1))) return;
        }
        reveal(*work, window);
    }

    std::optional<Record> record;
    {
        const PhaseTimer timer(phases_, "wait");
        record = follower_.wait_for_record();
    }
    if (!record) return;
    std::optional<Payloads> payloads;
    {
        const PhaseTimer timer(phases_, "gather");
        Payloads own;
        if (committed) {
            WirePayload mine = follower_.check_object(work->object, window, follower_.identity().hotkey());
            const auto listed = [&](const RecordEntry& entry) {
                return entry.hotkey == follower_.identity().hotkey() &&
                       entry.object_hash == sha256(work->object);
            };
            if (std::any_of(record->accepted.begin(), record->accepted.end(), listed))
                own.emplace(follower_.identity().hotkey(), std::move(mine));
        }
        payloads = follower_.fetch_payloads(*record, own);
    }
    if (!payloads) return;
    {
        const PhaseTimer timer(phases_, "apply");
        follower_.apply(*record, *payloads);
        follower_.save_state(trainer_.momentum(), saved_text(""));
    }
    const bool accepted = payloads->contains(follower_.identity().hotkey());
    if (options_.behaviour == Behaviour::copycat) seen_ = std::move(*payloads);
    forget_old_payloads(window);
    log_window(window, work ? &*work : nullptr, committed, accepted, record->rejected, before);
}

void Miner::log_window(int64_t window, const Work* work, bool committed, bool accepted,
                       const std::vector<RecordRejection>& rejected, const TransferStats& before) {
    std::string outcome = !work ? "too late to train" : !committed ? "not committed" : "accepted";
    if (committed && !accepted) {
        outcome = "not among those merged";
        for (const RecordRejection& rejection : rejected)
            if (rejection.hotkey == follower_.identity().hotkey())
                outcome = fmt::format("refused: {}: {}", rejection.reason, rejection.evidence);
    }
    const int64_t tokens = work ? work->tokens : 0;
    const double loss = work ? work->loss : 0.0, seconds = phases_["train"];
    const TransferStats traffic = follower_.traffic() - before;
    follower_.say(fmt::format("window {}: {} tokens, loss {:.4f}, {}, state {}", window, tokens, loss,
                              outcome, to_hex(follower_.replica().root()).substr(0, 16)));
    follower_.events().write(
        follower_.clock().now_ms(), "window",
        {{"window", window},
         {"root", to_hex(follower_.replica().root())},
         {"tokens", tokens},
         {"train_loss", loss},
         {"tokens_per_second", seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0},
         {"class_a", traffic.class_a},
         {"class_b", traffic.class_b},
         {"deletes", traffic.deletes},
         {"retries", traffic.retries},
         {"bytes_up", traffic.bytes_up},
         {"bytes_down", traffic.bytes_down},
         {"phases", phases_},
         {"accepted", accepted}});
}

// The estimates of one slow moment must not keep the miner out of every later window.
void Miner::forget_slowness() {
    const auto window_ms = static_cast<double>(follower_.description().window_ms());
    finish_ms_ = std::max(0.7 * finish_ms_, std::min(200.0, 0.1 * window_ms));
    commit_ms_ *= 0.7;
    batch_ms_ *= 0.7;
}

// The object that was made for this window before a restart, if there is one: its momentum is already in the
// checkpoint.
std::optional<Miner::Work> Miner::saved_work() {
    const nlohmann::json saved = nlohmann::json::parse(follower_.saved_extra(), nullptr, false);
    if (!saved.is_object() || !std::filesystem::exists(outbox())) return std::nullopt;
    try {
        Work work;
        work.object = read_file(outbox(), follower_.object_bytes());
        if (to_hex(sha256(work.object)) != saved.value("pending", "")) return std::nullopt;
        const WirePayload payload =
            follower_.check_object(work.object, follower_.window(), follower_.identity().hotkey());
        work.tokens = static_cast<int64_t>(payload.header.tokens);
        return work;
    } catch (const Error&) {
        return std::nullopt;  // of another window, or damaged: as if it were not there
    }
}

// The gradient of the window's pages at theta_w, through DeMo, as a signed wire object.
std::optional<Miner::Work> Miner::train() {
    Work work;
    {
        const PhaseTimer timer(phases_, "train");
        trainer_.zero_gradient();
        trainer_.set_weights(follower_.replica().weights());
        accumulate(follower_.description().start_ms(follower_.window() + 1), work);
    }
    if (follower_.stopping() || counted_ == 0) return std::nullopt;
    const PhaseTimer timer(phases_, "compress");
    const int64_t started = follower_.clock().now_ms();
    compress(1.0f / static_cast<float>(counted_));
    work.object = pack(work.tokens, payload_);
    write_file(outbox(), work.object);
    follower_.save_state(trainer_.momentum(), saved_text(to_hex(sha256(work.object))));
    const auto took = static_cast<double>(follower_.clock().now_ms() - started);
    const auto most = 0.4 * static_cast<double>(follower_.description().window_ms());
    finish_ms_ = std::min(most, std::max(2.0 * took + 100.0, 0.8 * finish_ms_));
    return work;
}

void Miner::compress(float scale) {
    trainer_.compress(learning_rate(follower_.description().schedule, follower_.step()), scale, payload_);
}

void Miner::accumulate(int64_t deadline_ms, Work& work) {
    const RunDescription& run = follower_.description();
    const PageShape shape{run.page_sequences, run.seq};
    PageAssignment pages(follower_.run().id, follower_.replica().root(), follower_.identity().hotkey(),
                         static_cast<uint64_t>(follower_.window()), page_count(follower_.corpus(), shape));
    const int64_t rows = trainer_.batch(), seq = run.seq;
    std::vector<int32_t> tokens(static_cast<size_t>(rows * seq)), labels(tokens.size());
    std::optional<DataParallel::Pending> in_flight;
    int64_t page = 0, in_page = run.page_sequences;
    double loss_sum = 0;
    counted_ = 0;
    const auto add_losses = [&] {
        if (in_flight) loss_sum += in_flight->wait();
    };
    // A GPU has the next batch before the last one is done, and losses are waited for one batch late.
    const bool runs_ahead = !follower_.device().shares_host_memory();
    const int64_t wanted = options_.tokens_per_window;
    for (bool last = false; !last && !follower_.stopping();) {
        const int64_t started = follower_.clock().now_ms();
        const auto room_for = [&](double batches) {
            return static_cast<double>(started + time_needed_ms()) + (batches - 1) * batch_ms_ <
                   static_cast<double>(deadline_ms);
        };
        const int unfinished = in_flight && runs_ahead ? 1 : 0;
        if (!room_for(1 + unfinished) || (wanted > 0 && work.tokens >= wanted)) break;
        // Several devices sum their gradients during the last batch.
        last = trainer_.ranks() > 1 && (!room_for(2 + unfinished) || (wanted > 0 && work.tokens + rows * seq >= wanted));
        for (int64_t row = 0; row < rows; ++row, ++in_page) {
            if (in_page == run.page_sequences) page = pages.next(), in_page = 0;
            read_sequence(
                follower_.corpus(), shape, page, in_page, run.end_token,
                std::span(tokens).subspan(static_cast<size_t>(row * seq), static_cast<size_t>(seq)),
                std::span(labels).subspan(static_cast<size_t>(row * seq), static_cast<size_t>(seq)));
        }
        const DataParallel::Pending next = trainer_.forward_backward(tokens, labels, last);
        add_losses();
        in_flight = next;
        counted_ += std::count_if(labels.begin(), labels.end(), [](int32_t label) { return label >= 0; });
        work.tokens += rows * seq;
        // Where nothing was waited for, this says nothing about how fast batches are.
        const double least = runs_ahead && unfinished == 0 ? batch_ms_ : 0.7 * batch_ms_;
        batch_ms_ = std::min(0.4 * static_cast<double>(run.window_ms()),
                             std::max(least, static_cast<double>(follower_.clock().now_ms() - started)));
    }
    add_losses();
    work.loss = counted_ > 0 ? loss_sum / static_cast<double>(counted_) : 0.0;
}

// Random numbers in the form of a gradient, with a claim to have worked.
std::optional<Miner::Work> Miner::make_noise() {
    CounterRng rng(Sha256()
                       .update("noise")
                       .update(follower_.identity().hotkey())
                       .update_le<int64_t>(follower_.window())
                       .finish());
    std::vector<float> noise(static_cast<size_t>(follower_.replica().layout().parameters));
    for (float& value : noise) value = static_cast<float>(rng.uniform() - 0.5);
    trainer_.set_gradient(noise);
    compress(1.0f);
    Work work;
    work.tokens = options_.micro_batch * follower_.description().seq * 4;
    work.object = pack(work.tokens, payload_);
    return work;
}

// The newest revealed payload of somebody else, wrapped in its own header and signature.
std::optional<Miner::Work> Miner::copy_another() {
    for (const auto& [hotkey, payload] : seen_) {
        if (hotkey == follower_.identity().hotkey()) continue;
        Work work;
        work.tokens = static_cast<int64_t>(payload.header.tokens);
        work.object = pack(work.tokens, payload.payload());
        return work;
    }
    return std::nullopt;
}

Bytes Miner::pack(int64_t tokens, ByteSpan payload) {
    const Replica& replica = follower_.replica();
    PayloadHeader header;
    header.run_id = follower_.run().id;
    header.window = static_cast<uint64_t>(follower_.window());
    header.root = replica.root();
    header.layout = replica.layout().hash;
    header.tokens = static_cast<uint64_t>(tokens);
    header.possession = replica.possession_proof(follower_.identity().hotkey(), header.window);
    header.ledger_sequence = follower_.chain().head_sequence();
    header.ledger_head = follower_.chain().head_hash();
    return encode_payload(follower_.identity(), header, payload);
}

// True when the promise stands in the bucket, made in time.
bool Miner::commit(const Work& work) {
    const PhaseTimer timer(phases_, "commit");
    const int64_t window = follower_.window();
    const std::string body = commit_to_json({.run_id = follower_.run().id,
                                             .window = window,
                                             .object_hash = sha256(work.object),
                                             .object_bytes = static_cast<int64_t>(work.object.size()),
                                             .tokens = work.tokens});
    const std::string key = commit_key(window, follower_.identity().hotkey());
    const Bytes object = seal(follower_.identity(), "commit", body);
    const int64_t started = follower_.clock().now_ms();
    const int64_t deadline = follower_.description().start_ms(window + 1);
    bool made = false;
    try {
        // The last look comes after the deadline: the answer to a try that worked may have been lost.
        if (!follower_.outages().reached_by(deadline, follower_.bucket(), [&] {
                made = try_to_commit(key, object, follower_.clock().now_ms() < deadline);
            }))
            return false;
    } catch (const Error& error) {
        follower_.events().write(follower_.clock().now_ms(), "error", {{"message", error.what()}});
        follower_.say(fmt::format("window {}: cannot commit: {}", window, error.what()));
        return false;
    }
    const auto took = static_cast<double>(follower_.clock().now_ms() - started);
    const auto most = 0.3 * static_cast<double>(follower_.description().window_ms());
    commit_ms_ = std::min(most, std::max(1.5 * took, 0.8 * commit_ms_));
    return made;
}

bool Miner::try_to_commit(const std::string& key, const Bytes& object, bool in_time) {
    const int64_t left_ms =
        follower_.description().start_ms(follower_.window() + 1) - follower_.clock().now_ms();
    if (in_time && follower_.bucket().create(key, object, std::max<int64_t>(1, left_ms))) return true;
    // Ed25519 is deterministic: an own commit from before a restart has the same bytes.
    std::optional<Bytes> there;
    try {
        there = follower_.bucket().get(key, max_commit_bytes);
    } catch (const Error& error) {
        // Too long to be a commit: a stranger's, like any other bytes that are not ours.
        if (error.code() != ExitCode::input) throw;
    }
    if (there == object) return true;
    if (in_time) follower_.bucket().put(key, object);
    return in_time;
}

// In vain after the deadline: then the miner goes on without it.
void Miner::reveal(const Work& work, int64_t window) {
    const PhaseTimer timer(phases_, "upload");
    const RunDescription& run = follower_.description();
    const int64_t deadline = run.start_ms(window + 1) + run.put_ms;
    Bucket& bucket = follower_.payload_bucket();
    const std::string key = payload_key(window, follower_.identity().hotkey());
    if (follower_.outages().reached_by(deadline, bucket, [&] {
            bucket.create(key, work.object, std::max<int64_t>(1, deadline - follower_.clock().now_ms()));
        }))
        return;
    if (!follower_.stopping())
        follower_.say(fmt::format("window {}: the payload could not be revealed in time", window));
}

// Deletes own payloads that nobody needs any more; what an outage kept from being deleted is caught up.
void Miner::forget_old_payloads(int64_t window) {
    const int64_t newest = window - follower_.description().payload_windows;
    if (newest < 0) return;
    Bucket& bucket = follower_.payload_bucket();
    const auto forget = [&] {
        if (!forgotten_) {
            forget_leftovers(newest);
            forgotten_ = newest;
        }
        for (; *forgotten_ < newest; ++*forgotten_)
            bucket.remove(payload_key(*forgotten_ + 1, follower_.identity().hotkey()));
    };
    follower_.outages().reached(bucket, forget, "deleting old payloads");
}

// What earlier lives of this miner left. Keys ascend with the window; others' payloads may be among them.
void Miner::forget_leftovers(int64_t newest) {
    const std::string prefix = "payload/", end = fmt::format("{}{:08}", prefix, newest + 1);
    const std::string own = "/" + to_hex(follower_.identity().hotkey());
    Bucket& bucket = follower_.payload_bucket();
    for (std::string after;;) {
        const std::vector<ObjectInfo> page = bucket.list(prefix, after);
        for (const ObjectInfo& info : page)
            if (info.key < end && info.key.ends_with(own)) bucket.remove(info.key);
        if (page.empty() || page.back().key >= end) return;
        after = page.back().key;
    }
}

}  // namespace templar
