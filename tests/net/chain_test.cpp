#include "net/chain/chain.h"

#include "base/random.h"
#include "tests/net/error_code.h"
#include "tests/net/scratch.h"

#include <algorithm>
#include <cmath>
#include <thread>

using namespace templar;

namespace {

Identity test_identity(int n) {
    return Identity::from_seed(sha256(as_bytes(std::to_string(n))));
}
Hotkey hotkey(int n) {
    return test_identity(n).hotkey();
}
std::string url(int n) {
    return "file:///bucket/" + std::to_string(n);
}
const auto ignore = [](const LedgerEntry&) {};
const std::atomic<bool> never{false};

// A run of its own on a virtual clock; identities 100, 101 and 102 are its validators.
struct Fixture {
    Scratch folder;
    VirtualClock clock{1'000'000};
    std::unique_ptr<Bucket> bucket = open_bucket(folder.url(), {.clock = &clock});
    ChainParams params{4, 0, {{hotkey(100), 3.0}, {hotkey(101), 2.0}, {hotkey(102), 2.0}}};
    std::unique_ptr<Chain> chain = make_ledger_chain(*bucket, clock, params);

    std::unique_ptr<Chain> replay() {
        auto fresh = make_ledger_chain(*bucket, clock, params);
        fresh->refresh();
        return fresh;
    }
    int64_t join(int n) { return chain->join(test_identity(n), {url(n), {}}, "miner"); }
    void wait(int64_t ms) { clock.sleep_until(clock.now_ms() + ms, never); }
    void write(int author, std::string_view kind, std::string_view payload) {
        Ledger(*bucket, clock).append(test_identity(author), kind, payload, ignore);
    }
    std::string weights(int64_t window, std::map<int, std::string> shares) {
        std::string body;
        for (const auto& [n, share] : shares)
            body += fmt::format("{}\"{}\":{}", body.empty() ? "" : ",", to_hex(hotkey(n)), share);
        return fmt::format("{{\"window\":{},\"weights\":{{{}}}}}", window, body);
    }
};

// All that a chain says, to compare two readers.
std::string state(const Chain& chain) {
    std::string text = fmt::format("{} {}\n", chain.head_sequence(), to_hex(chain.head_hash()));
    for (const Neuron& neuron : chain.neurons())
        text += fmt::format("{} {} {} {} {}\n", neuron.uid, to_hex(neuron.hotkey), neuron.bucket.url,
                            neuron.role, neuron.joined_ms);
    for (const auto& [key, weight] : chain.consensus()) text += fmt::format("{} {:a}\n", to_hex(key), weight);
    return text;
}

}  // namespace

TEST_CASE("chain: uids are the lowest free slots, buckets can change, places are given back") {
    Fixture f;
    CHECK(f.chain->neurons().empty());
    CHECK(f.chain->head_hash() == Digest{});
    CHECK(f.join(1) == 0);
    CHECK(f.join(2) == 1);
    CHECK(f.chain->join(test_identity(3), {url(3), {}}, "validator") == 2);
    const uint64_t head = f.chain->head_sequence();
    CHECK(f.join(2) == 1);  // nothing new, nothing written
    CHECK(f.chain->head_sequence() == head);
    f.wait(1000);
    CHECK(f.chain->join(test_identity(2), {"s3://elsewhere/2", {}}, "validator") == 1);
    CHECK(f.chain->find(hotkey(2))->bucket.url == "s3://elsewhere/2");
    CHECK(f.chain->find(hotkey(2))->role == "validator");
    CHECK(f.chain->find(hotkey(2))->joined_ms == 1'000'000);
    CHECK(f.chain->find(hotkey(9)) == nullptr);
    f.write(2, "leave", "{}");
    f.write(9, "leave", "{}");
    f.chain->refresh();
    CHECK(f.chain->find(hotkey(2)) == nullptr);
    CHECK(f.join(4) == 1);
    CHECK(f.join(2) == 3);
    const auto neurons = f.chain->neurons();
    REQUIRE(neurons.size() == 4);
    for (int64_t uid = 0; uid < 4; ++uid) CHECK(neurons[uid].uid == uid);
    CHECK(neurons[1].hotkey == hotkey(4));
    CHECK(state(*f.replay()) == state(*f.chain));
}

TEST_CASE("chain: who cannot be registered is told so") {
    Fixture f;
    const Identity identity = test_identity(1);
    for (const std::string& bad :
         {std::string(), std::string("http://x"), std::string("file://relative"), std::string("file:///"),
          std::string("s3://"), "file:///" + std::string(505, 'x'), std::string("file:///a b"),
          std::string("file:///a\n"), std::string("file:///\xff"), std::string("FILE:///a")}) {
        CAPTURE(bad);
        CHECK(code_of(
                  [&] {
                      f.chain->join(identity, {bad, {}}, "miner");
                  },
                  "join: bucket") == ExitCode::input);
    }
    CHECK(code_of([&] { f.chain->join(identity, {url(1), {}}, "king"); }, "join: role") == ExitCode::input);
    CHECK(f.bucket->list("").empty());
    CHECK(f.chain->join(identity, {"file:///" + std::string(504, 'x'), {}}, "miner") == 0);
}

TEST_CASE("chain: consensus is the stake-weighted median clip over registered hotkeys") {
    Fixture f;
    for (int n : {1, 2, 3}) f.join(n);
    CHECK(f.chain->consensus() == std::map<Hotkey, double>{{hotkey(1), 0}, {hotkey(2), 0}, {hotkey(3), 0}});
    f.chain->publish_weights(test_identity(100), {1, {{hotkey(1), 0.5}, {hotkey(2), 0.5}}});
    f.chain->publish_weights(test_identity(101), {1, {{hotkey(1), 0.5}, {hotkey(2), 0.5}}});
    f.chain->publish_weights(test_identity(102), {1, {{hotkey(3), 1.0}}});  // alone with its favourite
    auto consensus = f.chain->consensus();
    CHECK(consensus[hotkey(1)] == 0.5);
    CHECK(consensus[hotkey(2)] == 0.5);
    CHECK(consensus[hotkey(3)] == 0.0);
    // Only the newest counts; a hotkey that is not registered counts for nothing; one who gives no weights
    // abstains.
    f.chain->publish_weights(test_identity(100), {2, {{hotkey(1), 0.25}, {hotkey(50), 0.75}}});
    f.chain->publish_weights(test_identity(101), {2, {{hotkey(1), 0.125}}});
    f.chain->publish_weights(test_identity(102), {2, {{hotkey(1), 0.0}, {hotkey(2), 0.0}}});
    consensus = f.chain->consensus();
    CHECK(consensus.size() == 3);
    CHECK(consensus[hotkey(1)] == 1.0);
    // Weights of an older window do not come back.
    f.write(100, "weights", f.weights(1, {{2, "1"}}));
    f.write(101, "weights", f.weights(0, {{2, "1"}}));
    f.chain->refresh();
    CHECK(f.chain->consensus() == consensus);
    CHECK(state(*f.replay()) == state(*f.chain));

    CHECK(code_of(
              [&] {
                  f.chain->publish_weights(test_identity(1), {3, {{hotkey(1), 1.0}}});
              },
              "no stake") == ExitCode::identity);
    for (double bad : {-0.1, 1.1, std::nan(""), HUGE_VAL})
        CHECK(code_of([&] {
                  f.chain->publish_weights(test_identity(100), {3, {{hotkey(1), bad}}});
              }) == ExitCode::input);
    CHECK(code_of(
              [&] {
                  f.chain->publish_weights(test_identity(100), {-1, {}});
              },
              "window") == ExitCode::input);
}

TEST_CASE("chain: a full registry replaces the lowest weight past immunity, ties by age then uid") {
    Fixture f;
    f.params.immunity_ms = 1000;
    f.chain = make_ledger_chain(*f.bucket, f.clock, f.params);
    CHECK(f.chain->join(test_identity(100), {url(100), {}}, "validator") == 0);  // has no weight, but stake
    for (int n : {1, 2}) f.join(n);
    f.wait(10);
    f.join(3);
    f.wait(900);
    // Everyone is still safe.
    const uint64_t head = f.chain->head_sequence();
    CHECK(code_of([&] { f.join(4); }, "all 4 places are taken") == ExitCode::identity);
    CHECK(f.chain->head_sequence() == head);
    f.write(4, "join",
            "{\"bucket\":\"file:///"
            "x\",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":\"\"},"
            "\"role\":\"miner\"}");  // written all the same: no effect
    f.chain->refresh();
    CHECK(f.chain->find(hotkey(4)) == nullptr);

    f.wait(90);  // 1 and 2 are 1000 ms old, 3 is not
    f.chain->publish_weights(test_identity(100),
                             {1, {{hotkey(1), 0.5}, {hotkey(2), 0.25}, {hotkey(3), 0.25}}});
    CHECK(f.join(4) == 2);
    CHECK(f.chain->find(hotkey(2)) == nullptr);
    f.wait(5000);
    f.chain->publish_weights(test_identity(100), {2, {{hotkey(1), 0.5}, {hotkey(4), 0.5}}});
    CHECK(f.join(5) == 3);  // 3 weighed nothing
    f.wait(5000);
    f.chain->publish_weights(test_identity(100), {3, {}});
    CHECK(f.join(6) == 1);  // all equal: 1 joined first
    f.wait(5000);
    CHECK(f.join(7) == 2);
    CHECK(f.join(8) == 3);
    f.wait(5000);
    CHECK(f.join(9) == 1);   // 6, joined before 7 and 8
    CHECK(f.join(10) == 2);  // 7 and 8 joined at one moment: the lowest uid
    CHECK(f.chain->find(hotkey(100))->uid == 0);
    CHECK(state(*f.replay()) == state(*f.chain));
}

TEST_CASE("chain: entries that mean nothing have no effect") {
    Fixture f;
    for (int n : {1, 2}) f.join(n);
    f.chain->publish_weights(test_identity(100), {5, {{hotkey(1), 0.75}, {hotkey(2), 0.25}}});
    auto unchanged = [&](int author, std::string_view kind, const std::string& payload) {
        CAPTURE(payload.substr(0, 200));
        auto facts = [](const Chain& chain) { return state(chain).substr(state(chain).find('\n')); };
        const std::string before = facts(*f.chain);
        f.write(author, kind, payload);
        f.chain->refresh();
        CHECK(facts(*f.chain) == before);
    };
    for (const std::string& bucket :
         {std::string("\"http://x\""), std::string("\"ftp:///x\""), std::string("7"), std::string("\"\""),
          "\"file:///" + std::string(505, 'x') + "\"", std::string("\"file:///a\\u0000\""),
          std::string("\"file:///\\u00e4\""), std::string("null"), std::string("[]")}) {
        unchanged(7, "join",
                  "{\"bucket\":" + bucket +
                      ",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                      "\"\"},\"role\":\"miner\"}");
        unchanged(1, "join",
                  "{\"bucket\":" + bucket +
                      ",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                      "\"\"},\"role\":\"miner\"}");
    }
    for (const std::string& payload :
         {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{}"),
          std::string(20'000, '['), std::string("{\"bucket\":\"file:///x\"}"),
          std::string("{\"bucket\":\"file:///"
                      "x\",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                      "\"\"},\"role\":\"king\"}"),
          std::string("{\"bucket\":\"file:///"
                      "x\",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                      "\"\"},\"role\":\"miner\",\"uid\":0}"),
          std::string("{\"bucket\":\"file:///x\",\"bucket\":\"file:///"
                      "y\",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                      "\"\"},\"role\":\"miner\"}")})
        for (const char* kind : {"join", "weights"}) unchanged(100, kind, payload);
    for (const char* kind : {"", "Join", "weight", "dispute", "checkpoint", "rm -rf"})
        unchanged(100, kind,
                  "{\"bucket\":\"file:///"
                  "x\",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                  "\"\"},\"role\":\"miner\"}");
    unchanged(1, "weights", f.weights(9, {{1, "1"}}));   // no stake
    unchanged(77, "weights", f.weights(9, {{1, "1"}}));  // not even registered
    for (const char* share :
         {"NaN", "nan", "null", "-0.5", "1.5", "1e999", "\"1\"", "[1]", "true", "Infinity", "-1e-300"})
        unchanged(100, "weights", f.weights(9, {{1, share}}));
    unchanged(100, "weights", "{\"window\":-1,\"weights\":{}}");
    unchanged(100, "weights", "{\"window\":1e3,\"weights\":{}}");
    unchanged(100, "weights", "{\"window\":99999999999,\"weights\":{}}");
    unchanged(100, "weights", "{\"window\":9,\"weights\":{\"abc\":1}}");
    unchanged(100, "weights", "{\"window\":9,\"weights\":[]}");
    unchanged(100, "weights", "{\"window\":4,\"weights\":{}}");  // an older window
    CHECK(state(*f.replay()) == state(*f.chain));
    // The chain goes on.
    CHECK(f.join(3) == 2);
    // Bytes that are no entry at all are passed over, too.
    f.bucket->create(ledger_key(f.chain->head_sequence() + 1), as_bytes("garbage"));
    CHECK(f.join(4) == 3);
    CHECK(f.chain->neurons().size() == 4);
}

TEST_CASE("chain: a dispute stands in the ledger and changes nothing") {
    Fixture f;
    f.join(1);
    const auto before = f.chain->neurons().size();
    f.chain->publish_dispute(test_identity(1), 7, hotkey(1), "found \xff" + std::string(5000, 'x'));
    CHECK(f.chain->neurons().size() == before);
    CHECK(f.chain->head_sequence() == 1);
    std::string payload;
    Ledger(*f.bucket, f.clock).follow([&](const LedgerEntry& entry) { payload = entry.payload; });
    CHECK(payload.starts_with("{\"reason\":\"found ?xxx"));
    CHECK(payload.size() < 1200);
    CHECK(payload.ends_with("\"root\":\"" + to_hex(hotkey(1)) + "\",\"window\":7}"));
}

TEST_CASE("chain: a false date buys nothing") {
    Fixture f;
    f.params.immunity_ms = 500'000;
    f.chain = make_ledger_chain(*f.bucket, f.clock, f.params);
    for (int n : {1, 2, 3}) f.join(n);
    // A join dated to after everyone's immunity, written now.
    auto join_dated = [&](int author, int64_t time_ms) {
        VirtualClock other(time_ms);
        Ledger(*f.bucket, other)
            .append(test_identity(author), "join",
                    "{\"bucket\":\"file:///"
                    "x\",\"read_key\":{\"access_key_id\":\"\",\"secret_access_key\":\"\",\"session_token\":"
                    "\"\"},\"role\":\"miner\"}",
                    ignore);
        f.chain->refresh();
    };
    join_dated(4, f.clock.now_ms() + 900'000);
    CHECK(f.chain->find(hotkey(4)) == nullptr);
    join_dated(5, 3);  // dated long ago: it joined when the ledger says it could have at the earliest
    CHECK(f.chain->find(hotkey(5))->joined_ms == 1'000'000);
    join_dated(6, f.clock.now_ms() + max_clock_error_ms);
    CHECK(f.chain->find(hotkey(6)) == nullptr);  // believed, but nobody's immunity has ended
    CHECK(f.chain->neurons().size() == 4);
    CHECK(state(*f.replay()) == state(*f.chain));
}

TEST_CASE("chain: all readers agree, whatever was written and whenever they look") {
    Fixture f;
    f.params.immunity_ms = 3000;
    f.chain = make_ledger_chain(*f.bucket, f.clock, f.params);
    auto other = make_ledger_chain(*f.bucket, f.clock, f.params);
    CounterRng rng(sha256(as_bytes("agree")));
    for (int step = 0; step < 150; ++step) {
        Chain& chain = rng.below(2) ? *f.chain : *other;
        const int n = static_cast<int>(rng.below(8));
        switch (rng.below(4)) {
            case 0:
            case 1:
                try {
                    chain.join(test_identity(n), {url(static_cast<int>(rng.below(3))), {}}, "miner");
                } catch (const Error& error) {
                    CHECK(error.code() == ExitCode::identity);
                }
                break;
            case 2: {
                PublishedWeights weights{step, {}};
                for (int i = 0; i < 8; ++i) weights.weights[hotkey(i)] = rng.uniform() / 8;
                chain.publish_weights(test_identity(100 + static_cast<int>(rng.below(3))), weights);
                break;
            }
            case 3:
                f.write(n, rng.below(3) ? "dispute" : "leave", "{}");
        }
        f.wait(static_cast<int64_t>(rng.below(1000)));
    }
    f.chain->refresh();
    other->refresh();
    CHECK(f.chain->neurons().size() >= 2);
    CHECK(state(*f.chain) == state(*other));
    CHECK(state(*f.replay()) == state(*other));
}

TEST_CASE("chain: several join at once, each gets a uid of its own") {
    Scratch folder;
    SystemClock clock;
    const auto bucket = open_bucket(folder.url());
    const ChainParams params{8, 1'000'000'000, {}};
    std::vector<int64_t> uids(10, -1);
    std::vector<std::thread> threads;
    for (int n = 0; n < 10; ++n)
        threads.emplace_back([&, n] {
            try {
                uids[n] =
                    make_ledger_chain(*bucket, clock, params)->join(test_identity(n), {url(n), {}}, "miner");
            } catch (const Error& error) {
                uids[n] = error.code() == ExitCode::identity ? 100 : -2;  // two come too late
            }
        });
    for (auto& thread : threads) thread.join();
    std::sort(uids.begin(), uids.end());
    CHECK(uids == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 100, 100});
}
