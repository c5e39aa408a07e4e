#include "net/swarm/objects.h"

#include "base/error.h"
#include "base/strict_json.h"

#include <algorithm>
#include <bit>
#include <span>

namespace templar {

namespace {

constexpr int64_t max_window = 99'999'999;  // eight digits
constexpr int64_t max_count = int64_t{1} << 53;
constexpr size_t max_peers = 1024;
constexpr size_t max_sequences = 1024;
constexpr size_t max_evidence_bytes = 300;

std::string window_key(std::string_view folder, int64_t window, const Hotkey* hotkey) {
    if (window < 0 || window > max_window)
        fail(ExitCode::internal, "{}: window {} has no key", folder, window);
    return hotkey ? fmt::format("{}/{:08}/{}", folder, window, to_hex(*hotkey))
                  : fmt::format("{}/{:08}", folder, window);
}

std::span<const std::string_view> reason_names() {
    static const std::vector<std::string_view> names = [] {
        std::vector<std::string_view> all;
        for (int i = 0; i <= static_cast<int>(Reason::inactive); ++i)
            all.push_back(reason_name(static_cast<Reason>(i)));
        return all;
    }();
    return names;
}

bool is_reason(std::string_view name) {
    const auto names = reason_names();
    return std::find(names.begin(), names.end(), name) != names.end();
}

void describe_start(JsonFields& f, Digest& run_id, int64_t& window) {
    f.digest("run_id", run_id);
    f.integer("window", window, 0, max_window);
}

// Peers in a list: ascending uid, so each uid once; each hotkey once by way of the chain, which gives it one
// uid.
template <class Peer>
void require_ascending(JsonFields& f, const char* key, const std::vector<Peer>& peers) {
    for (size_t i = 1; i < peers.size(); ++i)
        f.require(key, peers[i - 1].uid < peers[i].uid, "ascending uids");
}

void describe(JsonFields& f, Commit& commit) {
    describe_start(f, commit.run_id, commit.window);
    f.digest("object_hash", commit.object_hash);
    f.integer("object_bytes", commit.object_bytes, 1, max_count);
    f.integer("tokens", commit.tokens, 0, max_count);
}

template <class Peer>
void describe_peer(JsonFields& f, Peer& peer) {
    f.integer("uid", peer.uid, 0, max_peers - 1);
    f.digest("hotkey", peer.hotkey);
}

void describe(JsonFields& f, Record& record) {
    describe_start(f, record.run_id, record.window);
    f.digest("root", record.root);
    f.bits("eta_bits", record.eta_bits);
    f.bits("keep_bits", record.keep_bits);
    for (const auto& [key, bits] :
         {std::pair{"eta_bits", record.eta_bits}, {"keep_bits", record.keep_bits}}) {
        const float value = std::bit_cast<float>(bits);
        f.require(key, value >= 0.0f && value <= 1.0f, "the bits of an fp32 number from 0 to 1");
    }
    f.integer("step", record.step, 0, record.window);
    f.objects("accepted", record.accepted, max_peers, [](JsonFields& g, RecordEntry& entry) {
        describe_peer(g, entry);
        g.digest("object_hash", entry.object_hash);
    });
    require_ascending(f, "accepted", record.accepted);
    f.objects("rejected", record.rejected, max_peers, [](JsonFields& g, RecordRejection& rejection) {
        describe_peer(g, rejection);
        g.text("reason", rejection.reason, 32);
        g.require("reason", is_reason(rejection.reason), "a reason of the protocol");
        g.note("evidence", rejection.evidence, max_evidence_bytes);
    });
    require_ascending(f, "rejected", record.rejected);
    f.digests("gather", record.gather, max_peers);
    f.digests("reserve", record.reserve, max_peers);
}

void describe(JsonFields& f, Rating& rating) {
    f.number("mu", rating.mu, -any_double, any_double);
    f.number("sigma", rating.sigma, 0, any_double);
}

void describe(JsonFields& f, Evaluation& evaluation) {
    for (auto [key, value] : {std::pair{"own_before", &evaluation.own_before},
                              {"own_after", &evaluation.own_after},
                              {"random_before", &evaluation.random_before},
                              {"random_after", &evaluation.random_after},
                              {"screen", &evaluation.screen}})
        f.number(key, *value, -any_double, any_double);
}

void describe(JsonFields& f, Penalty& penalty) {
    f.choice("reason", penalty.reason, reason_names());
    f.note("evidence", penalty.evidence, max_evidence_bytes);
    f.number("factor_score", penalty.factor_score, 0, 1);
    f.number("factor_binary", penalty.factor_binary, 0, 1);
}

void describe(JsonFields& f, ScoreEntry& peer) {
    describe_peer(f, peer);
    f.integer("tokens", peer.tokens, 0, max_count);
    f.boolean("evaluated", peer.evaluated);
    f.object("evaluation", [&](JsonFields& g) { describe(g, peer.evaluation); });
    f.object("before", [&](JsonFields& g) { describe(g, peer.before); });
    f.object("after", [&](JsonFields& g) { describe(g, peer.after); });
    f.number("binary_average", peer.binary_average, -1, 1);
    f.number("sync", peer.sync, 0, 1);
    f.number("final_score", peer.final_score, -any_double, any_double);
    f.number("weight", peer.weight, 0, 1);
    f.number("overlap", peer.overlap, -2, 2);  // chance may take it below 0
    f.object("penalty", [&](JsonFields& g) { describe(g, peer.penalty); });
    f.pairs("own_sequences", peer.own_sequences, max_sequences, 0, max_count);
}

void describe(JsonFields& f, Scores& scores) {
    describe_start(f, scores.run_id, scores.window);
    f.digest("root", scores.root);
    f.digest("secret", scores.secret);
    f.pairs("random_sequences", scores.random_sequences, max_sequences, 0, max_count);
    f.number("train_loss", scores.train_loss, -any_double, any_double);
    f.objects("peers", scores.peers, max_peers, [](JsonFields& g, ScoreEntry& peer) { describe(g, peer); });
    require_ascending(f, "peers", scores.peers);
}

template <class Object>
std::string to_json(const char* what, Object object) {
    return write_json(what, [&](JsonFields& f) { describe(f, object); });
}

template <class Object>
Object from_json(const char* what, std::string_view body, const Digest& run_id, int64_t window) {
    Object object;
    read_json(body, what, [&](JsonFields& f) { describe(f, object); });
    if (object.run_id != run_id)
        fail(ExitCode::input, "{}: run_id: expected {}, found {}", what, to_hex(run_id),
             to_hex(object.run_id));
    if (object.window != window)
        fail(ExitCode::input, "{}: window: expected {}, found {}", what, window, object.window);
    return object;
}

}  // namespace

std::string commit_key(int64_t window, const Hotkey& hotkey) {
    return window_key("commit", window, &hotkey);
}
std::string payload_key(int64_t window, const Hotkey& hotkey) {
    return window_key("payload", window, &hotkey);
}
std::string record_key(int64_t window) {
    return window_key("record", window, nullptr);
}
std::string secret_commit_key(int64_t window, const Hotkey& validator) {
    return window_key("secret", window, &validator);
}
std::string scores_key(int64_t window, const Hotkey& validator) {
    return window_key("scores", window, &validator);
}

std::string commit_to_json(const Commit& commit) {
    return to_json("commit", commit);
}
Commit commit_from_json(std::string_view body, const Digest& run_id, int64_t window) {
    return from_json<Commit>("commit", body, run_id, window);
}
std::string record_to_json(const Record& record) {
    return to_json("record", record);
}
Record record_from_json(std::string_view body, const Digest& run_id, int64_t window) {
    return from_json<Record>("record", body, run_id, window);
}
std::string scores_to_json(const Scores& scores) {
    return to_json("scores", scores);
}
Scores scores_from_json(std::string_view body, const Digest& run_id, int64_t window) {
    return from_json<Scores>("scores", body, run_id, window);
}

}  // namespace templar
