// The Gauntlet's memory as JSON text.
#include "base/strict_json.h"
#include "engine/gauntlet/gauntlet.h"

namespace templar {

namespace {

constexpr size_t max_peers = 1 << 20, max_evidence_bytes = 4096;

void window(JsonFields& f, const char* key, int64_t& value) {
    f.integer(key, value, -1, std::numeric_limits<int64_t>::max());  // -1: none
}

void describe(JsonFields& f, PeerState& peer) {
    f.number("mu", peer.rating.mu, -any_double, any_double);
    f.number("sigma", peer.rating.sigma, std::numeric_limits<double>::min(), any_double);
    f.boolean("rated", peer.rated);
    f.number("binary_average", peer.binary_average, -any_double, any_double);
    f.number("sync", peer.sync, 0, 1);
    f.number("final_score", peer.final_score, -any_double, any_double);
    f.number("weight", peer.weight, 0, 1);
    window(f, "last_commit", peer.last_commit);
    window(f, "banned_until", peer.banned_until);
    f.object("last_penalty", [&](JsonFields& g) {
        Penalty& penalty = peer.last_penalty;
        g.choice("reason", penalty.reason, reason_codes);
        g.note("evidence", penalty.evidence, max_evidence_bytes);  // may quote bytes that a stranger sent
        g.number("factor_score", penalty.factor_score, 0, 1);
        g.number("factor_binary", penalty.factor_binary, 0, 1);
        window(g, "window", peer.last_penalty_window);
    });
}

void describe(JsonFields& f, std::map<Digest, PeerState>& peers, int64_t& own_fault_window) {
    int64_t version = 1;
    f.integer("version", version, 1, 1);
    window(f, "own_fault_window", own_fault_window);
    f.objects("peers", peers, max_peers, [](JsonFields& g, PeerState& peer) { describe(g, peer); });
}

}  // namespace

std::string Gauntlet::save() const {
    auto peers = peers_;
    auto own_fault_window = own_fault_window_;
    return write_json("gauntlet state", [&](JsonFields& f) { describe(f, peers, own_fault_window); });
}

void Gauntlet::load(std::string_view text) {
    std::map<Digest, PeerState> peers;
    int64_t own_fault_window = -1;
    read_json(text, "gauntlet state", [&](JsonFields& f) { describe(f, peers, own_fault_window); });
    peers_ = std::move(peers);
    own_fault_window_ = own_fault_window;
}

}  // namespace templar
