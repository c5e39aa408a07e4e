// A miner: trains on its assigned pages, compresses, commits, reveals, applies the record (docs/protocol.md
// §3).
#pragma once

#include "engine/parallel/data_parallel.h"
#include "node/follower.h"

namespace templar {

// What a miner uploads. Everything but `honest` exists to try the Gauntlet on a swarm of one's own.
enum class Behaviour {
    honest,
    copycat,  // re-publishes another miner's newest revealed payload as its own
    noise     // publishes the compressed form of random numbers
};
Behaviour behaviour_from_name(std::string_view name);  // throws Error(usage)

struct MinerOptions {
    NodeOptions node;
    int64_t micro_batch = 4;        // sequences per forward and backward
    int64_t tokens_per_window = 0;  // fixed work; 0: as many as the window's time allows
    Behaviour behaviour = Behaviour::honest;
};

class Miner {
  public:
    Miner(const MinerOptions& options, Clock& clock, const std::atomic<bool>& stop);
    // Works until stopped or until options.node.last_window has been applied.
    void run();
    const Digest& root() { return follower_.replica().root(); }

  private:
    struct Work {
        Bytes object;  // the wire object to commit and reveal
        int64_t tokens = 0;
        double loss = 0;  // mean over counted tokens
    };
    bool in_time_to_train();
    void forget_slowness();
    void mine_window();
    std::optional<Work> saved_work();
    std::optional<Work> train();
    std::optional<Work> make_noise();
    std::optional<Work> copy_another();
    void accumulate(int64_t deadline_ms, Work& work);
    void compress(float scale);
    Bytes pack(int64_t tokens, ByteSpan payload);
    bool commit(const Work& work);
    bool try_to_commit(const std::string& key, const Bytes& object, bool in_time);
    void reveal(const Work& work, int64_t window);
    void forget_old_payloads(int64_t window);
    void forget_leftovers(int64_t newest);
    int64_t time_needed_ms() const;
    void log_window(int64_t window, const Work* work, bool committed, bool accepted,
                    const std::vector<RecordRejection>& rejected, const TransferStats& before);
    std::filesystem::path outbox() const;

    MinerOptions options_;
    Follower follower_;
    DataParallel trainer_;
    Bytes payload_;
    int64_t counted_ = 0;               // labels that counted in the gradient
    double finish_ms_ = 500;            // running estimate of what follows training: compress, save
    double commit_ms_ = 0;              // and commit
    double batch_ms_ = 0;               // and of one micro-batch
    std::optional<int64_t> forgotten_;  // newest window whose payload is deleted; none: not looked yet
    Payloads seen_;                     // the last record's payloads (the copycat's stock)
    std::map<std::string, double> phases_;
};

}  // namespace templar
