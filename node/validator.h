// A validator: collects what miners committed, writes the record, measures losses, rates peers
// (docs/protocol.md §6, §8).
#pragma once

#include "base/error.h"
#include "engine/gauntlet/stage2.h"
#include "node/follower.h"

#include <set>

namespace templar {

struct ValidatorOptions {
    NodeOptions node;
    int64_t micro_batch = 8;         // sequences per forward
    int64_t heldout_sequences = 32;  // held-out loss each window; 0: none
};

class Validator {
  public:
    // Throws Error(identity) when its hotkey is not a validator of the run.
    Validator(const ValidatorOptions& options, Clock& clock, const std::atomic<bool>& stop);
    void run();
    const Digest& root() { return follower_.replica().root(); }

  private:
    // What stage 1 found for one window.
    struct Window {
        int64_t window = 0;
        std::map<Hotkey, Commit> commits;
        std::map<Hotkey, int64_t> committed_ms;
        std::set<Hotkey> unread;  // whose commits the bucket did not give
        std::map<Hotkey, Submission> submissions;
        Payloads payloads;  // arrived and well-formed
        std::map<Hotkey, Stage1Verdict> verdicts;
    };
    // One submission, looked at in a thread of its own.
    struct Judged {
        Submission submission;
        std::optional<WirePayload> payload;
    };
    bool validate_window();
    void promise_secrets(int64_t newest);
    Digest secret(int64_t window) const;
    bool read_commits(Window& found, int64_t until_ms);
    void take_commit(Window& found, const Hotkey& hotkey, const GetResult& result);
    void collect(Window& found);
    bool is_own_fault(const Window& found);
    Judged judge_submission(const Window& found, const Neuron& peer, int64_t deadline_ms);
    int64_t record_due_ms(int64_t window) const;
    void recall_previous();
    void compare_indices(Window& found);
    Record make_record(const Window& found);
    std::vector<Hotkey> choose_gather(int64_t window);
    using ObjectsByKey = std::map<std::string, const Bytes*>;
    std::vector<std::string> put_all(const ObjectsByKey& objects, int64_t budget_ms);
    void archive_others(const Record& record, const Payloads& payloads);
    void archive(const Record& record, const Window& found);
    void archive_leftovers();
    std::optional<Record> settle_record(const Window& found);
    Record write_record(const Record& record);
    std::optional<Record> find_record_or_dispute();
    Scores measure(const Window& found);
    std::vector<SequenceId> sample_own(const Hotkey& peer, const WirePayload& payload, int64_t window);
    void publish(Scores& scores, const Window& found);
    bool put_notice(const std::string& key, const Bytes& object);
    void note_trouble(const Error& error);
    void log_window(const Scores& scores, const Window& found, const Record& record,
                    std::optional<double> heldout);

    ValidatorOptions options_;
    Follower follower_;
    int64_t rank_ = -1;
    Gauntlet gauntlet_;
    DeviceArray gradient_;  // of the window's random sample, for the first-order screen
    DeviceArray candidate_;  // the weights that stage 2 tries
    Llama model_;
    MeanLoss loss_, heldout_loss_;
    Stage2 stage2_;
    Payloads previous_;            // last window's payloads, for the copy test
    std::map<int64_t, std::vector<Hotkey>> gather_;  // by window
    std::vector<Hotkey> gather_now_;
    bool weights_due_ = false;
    int64_t promised_ = -1;                    // newest window whose secret is promised
    std::set<Digest> archived_;                // objects of this window that archive() has seen to
    std::map<std::string, Bytes> unarchived_;  // objects that the archive's bucket has not taken, by key
    TransferStats traffic_before_;             // of this window
    std::map<std::string, double> phases_;
};

}  // namespace templar
