// The Gauntlet's memory as JSON text. Doubles are printed with the digits that read back the same bits.
#include "base/error.h"
#include "engine/gauntlet/gauntlet.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <limits>

namespace templar {

namespace {

using nlohmann::json;

constexpr int64_t state_version = 1;

// An object of the state with exactly the given keys; every getter names the place it found wanting.
class Fields {
  public:
    Fields(const json& object, std::string what, std::initializer_list<const char*> keys)
        : object_(object), what_(std::move(what)) {
        if (!object.is_object())
            fail(ExitCode::input, "{}: expected an object, found {}", what_, object.type_name());
        for (const char* key : keys)
            if (!object.contains(key)) fail(ExitCode::input, "{}: {} is missing", what_, key);
        for (const auto& [key, value] : object.items())
            if (std::find(keys.begin(), keys.end(), key) == keys.end())
                fail(ExitCode::input, "{}: unknown key {}", what_, key);
    }

    double number(const char* key, double least = std::numeric_limits<double>::lowest(),
                  double most = std::numeric_limits<double>::max()) const {
        const json& value = object_.at(key);
        if (!value.is_number()) wrong(key, "a number");
        const double number = value.get<double>();
        if (!(number >= least && number <= most))
            wrong(key, fmt::format("a number from {} to {}", least, most));
        return number;
    }
    int64_t window(const char* key) const {
        const json& value = object_.at(key);
        const bool fits = value.is_number_unsigned()
                              ? value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()}
                              : value.is_number_integer() && value.get<int64_t>() >= -1;
        if (!fits) wrong(key, "a window number, or -1");
        return value.get<int64_t>();
    }
    bool flag(const char* key) const {
        if (!object_.at(key).is_boolean()) wrong(key, "true or false");
        return object_.at(key).get<bool>();
    }
    std::string text(const char* key) const {
        if (!object_.at(key).is_string()) wrong(key, "a string");
        return object_.at(key).get<std::string>();
    }
    Reason reason(const char* key) const {
        const std::string name = text(key);
        for (int i = 0; i <= static_cast<int>(Reason::inactive); ++i)
            if (name == reason_name(static_cast<Reason>(i))) return static_cast<Reason>(i);
        wrong(key, "a reason code");
    }

  private:
    [[noreturn]] void wrong(const char* key, const std::string& expected) const {
        const std::string found = object_.at(key).dump(-1, ' ', false, json::error_handler_t::replace);
        fail(ExitCode::input, "{}: {}: expected {}, found {}", what_, key, expected, found.substr(0, 100));
    }

    const json& object_;
    std::string what_;
};

json to_json(const PeerState& peer) {
    return {{"mu", peer.rating.mu},
            {"sigma", peer.rating.sigma},
            {"rated", peer.rated},
            {"binary_average", peer.binary_average},
            {"sync", peer.sync},
            {"final_score", peer.final_score},
            {"weight", peer.weight},
            {"last_commit", peer.last_commit},
            {"banned_until", peer.banned_until},
            {"last_penalty",
             {{"reason", reason_name(peer.last_penalty.reason)},
              {"evidence", peer.last_penalty.evidence},
              {"factor_score", peer.last_penalty.factor_score},
              {"factor_binary", peer.last_penalty.factor_binary},
              {"window", peer.last_penalty_window}}}};
}

PeerState peer_from_json(const json& value, const std::string& what) {
    const Fields fields(value, what,
                        {"mu", "sigma", "rated", "binary_average", "sync", "final_score", "weight",
                         "last_commit", "banned_until", "last_penalty"});
    const Fields penalty(value.at("last_penalty"), what + ": last_penalty",
                         {"reason", "evidence", "factor_score", "factor_binary", "window"});
    PeerState peer;
    peer.rating = {fields.number("mu"), fields.number("sigma", std::numeric_limits<double>::min())};
    peer.rated = fields.flag("rated");
    peer.binary_average = fields.number("binary_average");
    peer.sync = fields.number("sync", 0, 1);
    peer.final_score = fields.number("final_score");
    peer.weight = fields.number("weight", 0, 1);
    peer.last_commit = fields.window("last_commit");
    peer.banned_until = fields.window("banned_until");
    peer.last_penalty = {penalty.reason("reason"), penalty.text("evidence"),
                         penalty.number("factor_score", 0, 1), penalty.number("factor_binary", 0, 1)};
    peer.last_penalty_window = penalty.window("window");
    return peer;
}

}  // namespace

std::string Gauntlet::save() const {
    json peers = json::object();
    for (const auto& [hotkey, state] : peers_) peers[to_hex(hotkey)] = to_json(state);
    const json root = {
        {"version", state_version}, {"own_fault_window", own_fault_window_}, {"peers", std::move(peers)}};
    // Evidence may quote bytes that a stranger sent: what is not UTF-8 is replaced, not fatal.
    return root.dump(-1, ' ', false, json::error_handler_t::replace);
}

void Gauntlet::load(std::string_view text) {
    json root;
    try {
        root = json::parse(text);
    } catch (const json::exception& error) {
        fail(ExitCode::input, "gauntlet state: expected JSON: {}", error.what());
    }
    const Fields fields(root, "gauntlet state", {"version", "own_fault_window", "peers"});
    if (fields.window("version") != state_version)
        fail(ExitCode::input, "gauntlet state: expected version {}, found {}", state_version,
             fields.window("version"));
    const int64_t own_fault_window = fields.window("own_fault_window");

    std::map<Digest, PeerState> peers;
    if (!root.at("peers").is_object()) fail(ExitCode::input, "gauntlet state: peers: expected an object");
    for (const auto& [hex, value] : root.at("peers").items()) {
        const Digest hotkey = digest_from_hex(hex, "gauntlet state: hotkey");
        if (!peers.emplace(hotkey, peer_from_json(value, "gauntlet state: peer " + hex)).second)
            fail(ExitCode::input, "gauntlet state: peer {} is listed twice", hex);
    }
    peers_ = std::move(peers);
    own_fault_window_ = own_fault_window;
}

}  // namespace templar
