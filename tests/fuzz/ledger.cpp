// A ledger that anyone may write to. Each line is one object:
//   <author a…p><form><seconds since the last><seconds its own date is ahead><kind> <payload>
// form: s sealed as it should be; q, p another sequence or previous hash; x its signature broken; l longer
// than allowed; b the rest is the body ("@s", "@p" stand for the right sequence and previous hash); r the
// rest is the object. "@A" … "@P" in a payload stand for the authors' hotkeys. Whoever reads it, however
// often, sees the same; nobody with stake loses a place; a newcomer is not stopped.
#include "net/chain/chain.h"
#include "tests/fuzz/memory_bucket.h"
#include "tests/fuzz/target.h"

#include <nlohmann/json.hpp>

#include <cmath>

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr int64_t start_ms = 1'000'000'000'000;
constexpr uint64_t most_objects = 24;

ChainParams params() {
    return {.max_peers = 4,
            .immunity_ms = 20'000,
            .stake = {{participant(0).hotkey(), 1.0}, {participant(1).hotkey(), 2.5}}};
}

// Where the next object goes.
struct End {
    uint64_t sequence = 0;
    Digest previous{};
};

std::string replaced(std::string text, std::string_view from, const std::string& to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

std::string body_of(const End& end, char form, int64_t time_ms, std::string_view kind,
                    const std::string& payload) {
    Digest previous = end.previous;
    previous[0] ^= form == 'p';
    return nlohmann::json{{"sequence", end.sequence + (form == 'q')},
                          {"previous", to_hex(previous)},
                          {"time_ms", time_ms},
                          {"kind", kind},
                          {"payload", payload}}
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The object that a line stands for.
Bytes object_of(const Identity& author, const End& end, char form, int64_t time_ms, std::string_view rest) {
    if (form == 'r') return Bytes(rest.begin(), rest.end());
    std::string text(rest);
    for (int i = 0; i < participants; ++i)
        text = replaced(text, std::string{'@', static_cast<char>('A' + i)}, to_hex(participant(i).hotkey()));
    if (form == 'b') {
        text = replaced(text, "@s", fmt::format("{}", end.sequence));
        return seal(author, "ledger", replaced(text, "@p", to_hex(end.previous)));
    }
    const size_t space = std::min(text.find(' '), text.size());
    const std::string payload = space < text.size() ? text.substr(space + 1) : "";
    Bytes object = seal(author, "ledger", body_of(end, form, time_ms, text.substr(0, space), payload));
    if (form == 'x') object[90] ^= 1;
    if (form == 'l') object.resize(max_ledger_entry_bytes + 1, ' ');
    return object;
}

void check_chain(const Chain& chain) {
    const std::vector<Neuron> neurons = chain.neurons();
    const std::map<Hotkey, double> consensus = chain.consensus();
    double sum = 0;
    for (const auto& [hotkey, weight] : consensus) {
        require(weight >= 0 && weight <= 1, "a weight is from 0 to 1");
        require(chain.find(hotkey) != nullptr, "weights are for the registered");
        sum += weight;
    }
    require(sum == 0 || std::abs(sum - 1) < 1e-9, "weights add up to 1 or 0");
    require(consensus.size() == neurons.size(), "each hotkey has one place");
    for (size_t i = 0; i < neurons.size(); ++i) {
        require(neurons[i].uid >= 0 && neurons[i].uid < params().max_peers, "a uid is a place");
        require(i == 0 || neurons[i - 1].uid < neurons[i].uid, "uids ascend");
        const Neuron* found = chain.find(neurons[i].hotkey);
        require(found && found->uid == neurons[i].uid, "a hotkey is found at its place");
        require(neurons[i].role == "miner" || neurons[i].role == "validator", "a neuron has a role");
    }
}

void check_equal(const Chain& a, const Chain& b) {
    require(a.head_hash() == b.head_hash() && a.head_sequence() == b.head_sequence(),
            "readers agree on the chain of hashes");
    require(a.consensus() == b.consensus(), "readers agree on the weights");
    const std::vector<Neuron> x = a.neurons(), y = b.neurons();
    require(std::ranges::equal(x, y,
                               [](const Neuron& m, const Neuron& n) {
                                   return m.uid == n.uid && m.hotkey == n.hotkey && m.bucket == n.bucket &&
                                          m.role == n.role && m.joined_ms == n.joined_ms;
                               }),
            "readers agree on who is registered");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    MemoryBucket bucket;
    VirtualClock clock(start_ms);
    const auto each = make_ledger_chain(bucket, clock, params());  // reads after every object
    const Hotkey staked = participant(1).hotkey();
    End end;
    int64_t time_ms = bucket.now_ms = start_ms;
    while (end.sequence < most_objects && !input.empty()) {
        const std::string_view line = input.line();
        if (line.size() < 4) continue;
        const Identity& author = participant(line[0]);
        time_ms += 1000 * static_cast<uint8_t>(line[2]);
        const int64_t own_ms = time_ms + 1000 * (line[3] - '0');
        const bool had_place = each->find(staked) != nullptr;
        bucket.now_ms = time_ms;
        bucket.create(ledger_key(end.sequence), object_of(author, end, line[1], own_ms, line.substr(4)), 0);
        each->refresh();
        require(each->head_sequence() == end.sequence, "every object is a link");
        end = {end.sequence + 1, each->head_hash()};
        check_chain(*each);
        require(!had_place || author.hotkey() == staked || each->find(staked),
                "who has stake keeps its place");
    }
    const auto once = make_ledger_chain(bucket, clock, params());  // reads all at the end
    once->refresh();
    check_equal(*each, *once);

    // Nobody's nonsense keeps the next one from being written.
    const bool room = std::ssize(each->neurons()) < params().max_peers;
    const Identity newcomer = Identity::from_seed(run_id);
    const auto uid = accepted(
        [&] {
            return once->join(newcomer, {"s3://b?endpoint=https://a.b", {}}, "miner");
        },
        ExitCode::identity);
    require(uid.has_value() || !room, "a newcomer gets a free place");
    each->refresh();
    check_equal(*each, *once);
    return 0;
}
