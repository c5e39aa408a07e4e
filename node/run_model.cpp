#include "node/run_model.h"

#include "base/error.h"
#include "base/in_parallel.h"
#include "engine/replica/replica.h"
#include "node/peer_buckets.h"
#include "node/run_objects.h"

#include <algorithm>
#include <bit>

namespace templar {

namespace {

constexpr int64_t payload_budget_ms = 120'000;

class Replay {
  public:
    Replay(const RunModelOptions& options, Clock& clock, const std::atomic<bool>& stop)
        : clock_(clock),
          stop_(stop),
          bucket_(open_bucket(options.bucket_url,
                              {.credentials = options.credentials, .allow_http = options.allow_http, .stop = &stop})),
          run_(open_run(*bucket_)),
          peers_({.allow_file = options.bucket_url.starts_with("file://"),
                  .allow_http = options.allow_http,
                  .allow_private = options.allow_private},
                 stop),
          chain_(make_ledger_chain(*bucket_, clock, chain_params(run_.description), &stop)),
          device_(cpu_device()) {
        Layout layout = make_layout(llama_parameters(run_.description.model), run_.description.codec);
        const std::vector<float> genesis = fetch_genesis(*bucket_, layout);
        replica_.emplace(*device_, std::move(layout), genesis);
        if (replica_->root() != run_.description.genesis_root)
            fail(ExitCode::diverged, "{}: its state root is {}, the run was created with {}", genesis_key,
                 to_hex(replica_->root()), to_hex(run_.description.genesis_root));
        chain_->refresh();
    }

    Bucket& bucket() { return *bucket_; }
    const Run& run() const { return run_; }
    const Replica& replica() const { return *replica_; }
    int64_t window() const { return window_; }
    // By the clock: some may have no record yet.
    int64_t windows() const {
        const RunDescription& run = run_.description;
        return std::max(window_, (clock_.now_ms() - run.t0_ms) / run.window_ms());
    }

    // Applies the next record; false when there is none.
    bool step() {
        if (stop_) fail(ExitCode::interrupted, "stopped");
        const std::optional<Record> record = fetch_record(*bucket_, run_, window_);
        if (!record) return false;
        if (record->root != replica_->root())
            fail(ExitCode::diverged, "{}: made from state {}, but the records before it lead to {}",
                 record_key(window_), to_hex(record->root), to_hex(replica_->root()));
        std::vector<std::optional<WirePayload>> payloads(record->accepted.size());
        in_parallel(std::ssize(payloads), [&](int64_t i) {
            payloads[static_cast<size_t>(i)] = find_payload(record->accepted[static_cast<size_t>(i)]);
        });
        std::vector<std::span<const uint8_t>> views;
        for (const auto& payload : payloads) views.push_back(payload->payload());
        replica_->apply(
            {.eta = std::bit_cast<float>(record->eta_bits), .keep = std::bit_cast<float>(record->keep_bits)}, views);
        ++window_;
        return true;
    }

  private:
    WirePayload find_payload(const RecordEntry& entry) {
        std::string trouble = "neither its owner nor a validator is registered";
        for (const BucketAddress& place :
             payload_sources(run_.description, *chain_, entry.hotkey, window_, clock_.now_ms()))
            try {
                auto found =
                    fetch_payload(peers_.at(place), run_, replica_->layout(), window_, entry.hotkey, payload_budget_ms);
                if (found && sha256(found->payload.object) == entry.object_hash) return std::move(found->payload);
                trouble = found ? "its bytes are not the recorded ones" : "it is not there";
            } catch (const Error& error) {
                if (error.code() == ExitCode::interrupted) throw;
                trouble = error.what();
            }
        fail(ExitCode::storage, "window {}: the payload of {} cannot be had: {}", window_, to_hex(entry.hotkey),
             trouble);
    }

    Clock& clock_;
    const std::atomic<bool>& stop_;
    std::unique_ptr<Bucket> bucket_;
    Run run_;
    PeerBuckets peers_;
    std::unique_ptr<Chain> chain_;
    std::unique_ptr<Device> device_;
    std::optional<Replica> replica_;
    int64_t window_ = 0;
};

}  // namespace

SavedModel load_run_model(const RunModelOptions& options, const std::filesystem::path& folder, Clock& clock,
                          const std::atomic<bool>& stop) {
    Replay replay(options, clock, stop);
    while (replay.step())
        if (options.progress) options.progress(replay.window(), replay.windows());
    const RunDescription& run = replay.run().description;
    fetch_tokenizer(replay.bucket(), replay.run(), folder);
    SavedModel model;
    model.config = run.model;
    model.seq = run.seq;
    model.params = replay.replica().host_theta();
    model.tokenizer = folder / "tokenizer.json";
    model.end_token = run.end_token;
    model.origin = fmt::format("run {} in {} at window {}, state {}", to_hex(replay.run().id).substr(0, 16),
                               options.bucket_url, replay.window(), to_hex(replay.replica().root()));
    return model;
}

}  // namespace templar
