#include "base/error.h"
#include "base/strict_json.h"
#include "engine/gauntlet/gauntlet.h"
#include "net/chain/chain.h"

#include <algorithm>
#include <tuple>

namespace templar {

namespace {

constexpr size_t max_url_bytes = 512;
constexpr size_t max_weights = 1024;
constexpr int64_t max_window = 99'999'999;
constexpr std::string_view roles[] = {"miner", "validator"};

constexpr size_t max_key_id_bytes = 256, max_secret_bytes = 256, max_token_bytes = 8192;

struct Join {
    BucketAddress bucket;
    std::string role;
};

bool printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

bool valid_url(std::string_view url) {
    const bool scheme =
        (url.starts_with("file:///") && url.size() > 8) || (url.starts_with("s3://") && url.size() > 5);
    return printable(url) && scheme;
}

void describe(JsonFields& f, Join& join) {
    f.text("bucket", join.bucket.url, max_url_bytes);
    f.require("bucket", valid_url(join.bucket.url),
              "file:///absolute/folder or s3://… in printable characters");
    f.object("read_key", [&](JsonFields& g) {
        S3Credentials& key = join.bucket.read_key;
        for (auto [name, text, most] : {std::tuple{"access_key_id", &key.access_key_id, max_key_id_bytes},
                                        {"secret_access_key", &key.secret_access_key, max_secret_bytes},
                                        {"session_token", &key.session_token, max_token_bytes}}) {
            g.text(name, *text, most);
            g.require(name, printable(*text), "printable characters without blanks");
        }
    });
    f.text("role", join.role, 16);
    f.require("role", std::find(std::begin(roles), std::end(roles), join.role) != std::end(roles),
              "miner or validator");
}

void describe(JsonFields& f, PublishedWeights& weights) {
    f.integer("window", weights.window, 0, max_window);
    f.shares("weights", weights.weights, max_weights, 0, 1);
}

struct Dispute {
    int64_t window = 0;
    Digest root{};
    std::string reason;
};

void describe(JsonFields& f, Dispute& dispute) {
    f.integer("window", dispute.window, 0, max_window);
    f.digest("root", dispute.root);
    f.note("reason", dispute.reason, 1000);
}

template <class Body>
std::string to_json(const char* what, Body body) {
    return write_json(what, [&](JsonFields& f) { describe(f, body); });
}
template <class Body>
Body from_json(const char* what, std::string_view text) {
    Body body;
    read_json(text, what, [&](JsonFields& f) { describe(f, body); });
    return body;
}

class LedgerChain final : public Chain {
  public:
    LedgerChain(Bucket& bucket, Clock& clock, ChainParams params, const std::atomic<bool>* stop)
        : clock_(clock), params_(std::move(params)), ledger_(bucket, clock, stop) {}

    void refresh() override {
        ledger_.follow([this](const LedgerEntry& entry) { apply(entry); });
    }
    int64_t join(const Identity& identity, const BucketAddress& bucket, const std::string& role) override;
    std::vector<Neuron> neurons() const override;
    const Neuron* find(const Hotkey& hotkey) const override;
    bool publish_weights(const Identity& validator, const PublishedWeights& weights,
                         int64_t until_ms) override;
    void publish_dispute(const Identity& validator, int64_t window, const Digest& own_root,
                         const std::string& reason) override;
    std::map<Hotkey, double> consensus() const override;
    uint64_t head_sequence() const override {
        return ledger_.next_sequence() - (ledger_.next_sequence() > 0 ? 1 : 0);
    }
    Digest head_hash() const override { return ledger_.head(); }

  private:
    void apply(const LedgerEntry& entry);
    void apply_join(const LedgerEntry& entry);
    void apply_weights(const LedgerEntry& entry);
    std::optional<int64_t> slot_for_newcomer(int64_t time_ms) const;
    double stake(const Hotkey& hotkey) const;

    Clock& clock_;
    ChainParams params_;
    Ledger ledger_;
    std::map<int64_t, Neuron> neurons_;  // by uid
    std::map<Hotkey, int64_t> uids_;
    std::map<Hotkey, PublishedWeights> weights_;  // newest of each validator
    int64_t time_ms_ = 0;
};

void LedgerChain::apply(const LedgerEntry& entry) {
    try {
        if (entry.kind == "join") apply_join(entry);
        if (entry.kind == "weights") apply_weights(entry);
        if (entry.kind == "leave") {
            const auto known = uids_.find(entry.author);
            if (known == uids_.end()) return;
            neurons_.erase(known->second);
            uids_.erase(known);
        }
    } catch (const Error&) {
        // A stranger's nonsense: no effect, for every reader alike.
    }
}

void LedgerChain::apply_join(const LedgerEntry& entry) {
    const Join join = from_json<Join>("join", entry.payload);
    if (entry.time_ms > entry.stored_ms + max_clock_error_ms) return;
    time_ms_ = std::max(time_ms_, entry.time_ms);
    if (const auto known = uids_.find(entry.author); known != uids_.end()) {
        Neuron& neuron = neurons_.at(known->second);
        neuron.bucket = join.bucket;
        neuron.role = join.role;
        return;
    }
    const std::optional<int64_t> uid = slot_for_newcomer(time_ms_);
    if (!uid) return;
    if (const auto replaced = neurons_.find(*uid); replaced != neurons_.end())
        uids_.erase(replaced->second.hotkey);
    neurons_[*uid] = {*uid, entry.author, join.bucket, join.role, time_ms_};
    uids_[entry.author] = *uid;
}

void LedgerChain::apply_weights(const LedgerEntry& entry) {
    if (stake(entry.author) <= 0) return;
    PublishedWeights weights = from_json<PublishedWeights>("weights", entry.payload);
    const auto known = weights_.find(entry.author);
    if (known != weights_.end() && known->second.window > weights.window) return;
    weights_[entry.author] = std::move(weights);
}

std::optional<int64_t> LedgerChain::slot_for_newcomer(int64_t time_ms) const {
    int64_t free = 0;
    for (const auto& [uid, neuron] : neurons_) {
        if (uid != free) break;
        ++free;
    }
    if (free < params_.max_peers) return free;

    const std::map<Hotkey, double> weights = consensus();
    std::optional<std::tuple<double, int64_t, int64_t>> worst;  // weight, joined, uid
    for (const auto& [uid, neuron] : neurons_) {
        if (stake(neuron.hotkey) > 0 || time_ms - neuron.joined_ms < params_.immunity_ms) continue;
        const std::tuple candidate{weights.at(neuron.hotkey), neuron.joined_ms, uid};
        if (!worst || candidate < *worst) worst = candidate;
    }
    if (!worst) return std::nullopt;
    return std::get<2>(*worst);
}

double LedgerChain::stake(const Hotkey& hotkey) const {
    const auto held = params_.stake.find(hotkey);
    return held == params_.stake.end() ? 0.0 : held->second;
}

int64_t LedgerChain::join(const Identity& identity, const BucketAddress& bucket, const std::string& role) {
    const std::string body = to_json("join", Join{bucket, role});
    auto still_wanted = [&] {
        if (const Neuron* known = find(identity.hotkey()))
            return known->bucket != bucket || known->role != role;
        return slot_for_newcomer(std::max(time_ms_, clock_.now_ms())).has_value();
    };
    ledger_.append(
        identity, "join", body, [this](const LedgerEntry& entry) { apply(entry); }, still_wanted);
    const Neuron* neuron = find(identity.hotkey());
    if (!neuron)
        fail(ExitCode::identity,
             "cannot join: all {} places are taken and nobody in them can be replaced yet (a place is safe "
             "for {} s); try again later",
             params_.max_peers, params_.immunity_ms / 1000);
    return neuron->uid;
}

std::vector<Neuron> LedgerChain::neurons() const {
    std::vector<Neuron> all;
    for (const auto& [uid, neuron] : neurons_) all.push_back(neuron);
    return all;
}

const Neuron* LedgerChain::find(const Hotkey& hotkey) const {
    const auto known = uids_.find(hotkey);
    return known == uids_.end() ? nullptr : &neurons_.at(known->second);
}

bool LedgerChain::publish_weights(const Identity& validator, const PublishedWeights& weights,
                                  int64_t until_ms) {
    if (stake(validator.hotkey()) <= 0)
        fail(ExitCode::identity, "cannot publish weights: the run gives {} no stake",
             to_hex(validator.hotkey()));
    PublishedWeights given = weights;
    std::erase_if(given.weights, [](const auto& entry) {
        return entry.second == 0;
    });  // absent means the same, in fewer bytes
    return ledger_
        .append(
            validator, "weights", to_json("weights", given),
            [this](const LedgerEntry& entry) { apply(entry); }, [&] { return clock_.now_ms() < until_ms; })
        .has_value();
}

void LedgerChain::publish_dispute(const Identity& validator, int64_t window, const Digest& own_root,
                                  const std::string& reason) {
    ledger_.append(validator, "dispute", to_json("dispute", Dispute{window, own_root, reason}),
                   [this](const LedgerEntry& entry) { apply(entry); });
}

std::map<Hotkey, double> LedgerChain::consensus() const {
    std::map<Hotkey, double> result;
    for (const auto& [hotkey, uid] : uids_) result[hotkey] = 0.0;
    std::vector<std::vector<double>> rows;  // (validators, registered hotkeys)
    std::vector<double> stakes;
    for (const auto& [validator, given] : weights_) {
        std::vector<double> row;
        double sum = 0;
        for (const auto& [hotkey, uid] : uids_) {
            const auto share = given.weights.find(hotkey);
            row.push_back(share == given.weights.end() ? 0.0 : share->second);
            sum += row.back();
        }
        if (sum <= 0) continue;
        rows.push_back(std::move(row));
        stakes.push_back(stake(validator));
    }
    if (rows.empty()) return result;
    const std::vector<double> weights = consensus_weights(rows, stakes);
    size_t column = 0;
    for (auto& [hotkey, weight] : result) weight = weights[column++];
    return result;
}

}  // namespace

std::unique_ptr<Chain> make_ledger_chain(Bucket& bucket, Clock& clock, ChainParams params,
                                         const std::atomic<bool>* stop) {
    return std::make_unique<LedgerChain>(bucket, clock, std::move(params), stop);
}

}  // namespace templar
