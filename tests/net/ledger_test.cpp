#include "net/ledger/ledger.h"

#include "tests/net/error_code.h"
#include "tests/net/forwarding_bucket.h"
#include "tests/net/scratch.h"

#include <nlohmann/json.hpp>

#include <set>
#include <thread>

using namespace templar;
using nlohmann::json;

namespace {

Identity test_identity(int n) {
    return Identity::from_seed(sha256(as_bytes(std::to_string(n))));
}
const auto ignore = [](const LedgerEntry&) {};

std::vector<LedgerEntry> read_all(Bucket& bucket, Clock& clock) {
    std::vector<LedgerEntry> entries;
    Ledger(bucket, clock).follow([&](const LedgerEntry& entry) { entries.push_back(entry); });
    return entries;
}

// An entry as a hostile author would write it.
Bytes forged(const Identity& author, uint64_t sequence, const Digest& previous,
             const std::function<void(json&)>& change = {}, std::string_view kind = "ledger") {
    json body = {{"sequence", sequence},
                 {"previous", to_hex(previous)},
                 {"time_ms", 1},
                 {"kind", "join"},
                 {"payload", "{}"}};
    if (change) change(body);
    return seal(author, kind, body.dump());
}

}  // namespace

TEST_CASE("ledger: what is appended is read by others, in order") {
    Scratch folder;
    VirtualClock clock(5000);
    const auto bucket = open_bucket(folder.url(), {.clock = &clock});
    CHECK(ledger_key(7) == "ledger/00000000000000000007");
    Ledger first(*bucket, clock), second(*bucket, clock);
    const auto a = first.append(test_identity(1), "join", "{\"a\": \"ä\"}", ignore);
    REQUIRE(a);
    CHECK(a->sequence == 0);
    CHECK(a->previous == Digest{});
    CHECK(a->time_ms == 5000);
    CHECK(a->stored_ms == 5000);
    const auto b = second.append(test_identity(2), "leave", "not even JSON", ignore);
    REQUIRE(b);
    CHECK(b->sequence == 1);
    CHECK(b->previous == a->hash);
    first.append(test_identity(1), "weights", "", ignore);

    const auto entries = read_all(*bucket, clock);
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].payload == "{\"a\": \"ä\"}");
    CHECK(entries[0].author == test_identity(1).hotkey());
    CHECK(entries[0].hash == sha256(*bucket->get(ledger_key(0), 1 << 20)));
    CHECK(entries[1].kind == "leave");
    CHECK(entries[1].payload == "not even JSON");
    CHECK(entries[2].previous == entries[1].hash);
    CHECK(first.head() == entries[2].hash);
    CHECK(first.next_sequence() == 3);
    CHECK(second.next_sequence() == 2);
    std::vector<uint64_t> seen;
    second.follow([&](const LedgerEntry& entry) { seen.push_back(entry.sequence); });
    CHECK(seen == std::vector<uint64_t>{2});
}

TEST_CASE("ledger: an entry nobody wants any more is not appended") {
    Scratch folder;
    VirtualClock clock(0);
    const auto bucket = open_bucket(folder.url());
    Ledger ledger(*bucket, clock);
    CHECK_FALSE(ledger.append(test_identity(1), "join", "{}", ignore, [] { return false; }));
    CHECK(bucket->list("").empty());
    // It is asked after everything there has been applied.
    Ledger(*bucket, clock).append(test_identity(2), "join", "{}", ignore);
    int applied = 0;
    CHECK_FALSE(ledger.append(
        test_identity(1), "join", "{}", [&](const LedgerEntry&) { ++applied; },
        [&] { return applied == 0; }));
    CHECK(applied == 1);
}

TEST_CASE("ledger: six writers at once, nothing is lost and the chain holds") {
    Scratch folder;
    SystemClock clock;
    const auto bucket = open_bucket(folder.url());
    std::vector<std::thread> threads;
    std::atomic<int> failures{0};
    for (int writer = 0; writer < 6; ++writer)
        threads.emplace_back([&, writer] {
            Ledger ledger(*bucket, clock);
            uint64_t applied = 0;
            for (int i = 0; i < 20; ++i) {
                const auto entry =
                    ledger.append(test_identity(writer), "join", std::to_string(i),
                                  [&](const LedgerEntry& found) { failures += found.sequence != applied++; });
                failures += !entry || entry->payload != std::to_string(i) ||
                            entry->author != test_identity(writer).hotkey();
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(failures == 0);
    const auto entries = read_all(*bucket, clock);
    CHECK(entries.size() == 120);
    std::map<Hotkey, int> next;  // each author's entries stand in the order it wrote them
    for (const LedgerEntry& entry : entries) CHECK(entry.payload == std::to_string(next[entry.author]++));
    CHECK(next.size() == 6);
}

TEST_CASE("ledger: tampered, forked, missing and foreign entries have no effect, and the reason is told") {
    Scratch folder;
    VirtualClock clock(0);
    const auto bucket = open_bucket(folder.url());
    Ledger ledger(*bucket, clock);
    for (int i = 0; i < 4; ++i) ledger.append(test_identity(i), "join", "{}", ignore);
    const std::string key = ledger_key(2);
    const Bytes good = *bucket->get(key, 1 << 20);
    const Digest before = sha256(*bucket->get(ledger_key(1), 1 << 20));
    auto refused = [&](const Bytes& object, std::string_view mentions) {
        bucket->put(key, object);
        int applied = 0;
        Ledger reader(*bucket, clock);
        reader.follow([&](const LedgerEntry&) { ++applied; });
        CHECK(applied == 2);  // the entry behind it names the hash of the one that stood here
        CHECK(reader.next_sequence() == 4);
        REQUIRE(reader.skipped().size() == 2);
        CHECK(reader.skipped()[0].sequence == 2);
        CHECK(reader.skipped()[0].reason.find(mentions) != std::string::npos);
    };
    for (size_t i = 0; i < good.size(); i += 3) {
        Bytes tampered = good;
        tampered[i] ^= 0x10;
        refused(tampered, key);
    }
    refused({}, key);
    refused(Bytes(good.begin(), good.end() - 1), "does not verify");
    refused(Bytes(max_ledger_entry_bytes + 1), "expected at most 65536");
    const Identity mallory = test_identity(66);
    refused(forged(mallory, 2, sha256(as_bytes("another history"))), "previous: expected " + to_hex(before));
    refused(forged(mallory, 3, before), "sequence: expected 2, found 3");
    refused(forged(mallory, 2, before, {}, "record"), "header line");
    refused(forged(mallory, 2, before, [](json& body) { body.erase("kind"); }), "kind: expected this key");
    refused(forged(mallory, 2, before, [](json& body) { body["more"] = 1; }), "more");
    refused(forged(mallory, 2, before, [](json& body) { body["time_ms"] = -1; }), "time_ms");
    refused(forged(mallory, 2, before, [](json& body) { body["sequence"] = "2"; }), "sequence");
    refused(forged(mallory, 2, before, [](json& body) { body["kind"] = std::string(33, 'k'); }), "kind");
    refused(seal(mallory, "ledger", "not JSON"), "not JSON");
    refused(*bucket->get(ledger_key(1), 1 << 20), "sequence: expected 2, found 1");

    // A well-formed entry in place of the old one is a fork: whoever comes after it names another hash.
    bucket->put(key, forged(mallory, 2, before));
    Ledger reader(*bucket, clock);
    reader.follow(ignore);
    REQUIRE(reader.skipped().size() == 1);
    CHECK(reader.skipped()[0].reason.find(ledger_key(3) + ": previous: expected") != std::string::npos);
    // A missing entry ends the ledger there; what stands behind it is not reached.
    bucket->remove(key);
    CHECK(read_all(*bucket, clock).size() == 2);
    // As it was, it is read again.
    bucket->put(key, good);
    CHECK(read_all(*bucket, clock).size() == 4);
    ledger.follow(ignore);
    CHECK(ledger.next_sequence() == 4);

    // A stranger's bytes at the end stop nobody: writers go on behind them, readers agree.
    bucket->put(ledger_key(4), as_bytes("junk"));
    bucket->put(ledger_key(5), Bytes(max_ledger_entry_bytes + 1));
    REQUIRE(ledger.append(test_identity(9), "join", "{}", ignore));
    CHECK(ledger.next_sequence() == 7);
    CHECK(read_all(*bucket, clock).size() == 5);
}

TEST_CASE("ledger: what cannot be an entry is not written") {
    Scratch folder;
    VirtualClock clock(0);
    const auto bucket = open_bucket(folder.url());
    Ledger ledger(*bucket, clock);
    auto refused = [&](std::string_view kind, const std::string& payload) {
        CHECK(code_of([&] { ledger.append(test_identity(1), kind, payload, ignore); }) == ExitCode::input);
    };
    refused("join", std::string(70'000, 'x'));
    refused("join", std::string(40'000, '"'));  // twice as long once it is escaped
    refused("join", "\xff");
    refused(std::string(33, 'k'), "{}");
    CHECK(bucket->list("").empty());
}

namespace {

// Counts what is asked for; fails for one key while told so.
class WatchedBucket : public ForwardingBucket {
  public:
    using ForwardingBucket::ForwardingBucket;
    std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes) override {
        ++round_trips;
        return ForwardingBucket::get_many(keys, max_bytes);
    }
    void before(const char* operation, const std::string& key) override {
        requests += std::string_view(operation) != "create";
        if (key == broken) fail(ExitCode::storage, "{}: no answer", key);
    }
    int round_trips = 0, requests = 0;
    std::string broken;
};

// A bucket whose every key is taken and yet never found: what a broken or hostile store may answer.
class TakenBucket : public Bucket {
  public:
    std::optional<ObjectInfo> head(const std::string&) override { return std::nullopt; }
    std::optional<Bytes> get(const std::string&, int64_t) override { return std::nullopt; }
    std::optional<Bytes> get_range(const std::string&, int64_t, int64_t) override { return std::nullopt; }
    std::optional<Object> fetch(const std::string&, int64_t, int64_t, const ArrivalCheck&) override {
        return std::nullopt;
    }
    std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t) override {
        return std::vector<GetResult>(keys.size());
    }
    bool create(const std::string&, ByteSpan, int64_t) override { return false; }
    void put(const std::string&, ByteSpan, int64_t) override {}
    void remove(const std::string&) override {}
    std::vector<ObjectInfo> list(const std::string&, const std::string&, int64_t) override { return {}; }
    std::string url() const override { return "taken"; }
};

}  // namespace

TEST_CASE("ledger: losing every race ends with an error") {
    VirtualClock clock(0);
    TakenBucket bucket;
    Ledger ledger(bucket, clock);
    CHECK(code_of([&] { ledger.append(test_identity(1), "join", "{}", ignore); }, "too busy") ==
          ExitCode::storage);
    CHECK(clock.now_ms() > 100);      // it waited,
    CHECK(clock.now_ms() < 200'000);  // but not for ever
}

TEST_CASE("ledger: looking costs one request, a newcomer reads many at a time") {
    Scratch folder;
    VirtualClock clock(7000);
    WatchedBucket bucket(open_bucket(folder.url(), {.clock = &clock}));
    Ledger writer(bucket, clock);
    std::vector<uint64_t> expected;
    for (uint64_t i = 0; i < 700; ++i) {
        writer.append(test_identity(static_cast<int>(i % 3)), "join", "{}", ignore);
        expected.push_back(i);
    }
    std::vector<uint64_t> seen;
    const auto note = [&](const LedgerEntry& entry) {
        seen.push_back(entry.sequence);
        CHECK(entry.stored_ms == 7000);
    };
    Ledger newcomer(bucket, clock);
    bucket.round_trips = bucket.requests = 0;
    newcomer.follow(note);
    CHECK(seen == expected);
    CHECK(newcomer.head() == writer.head());
    CHECK(bucket.round_trips == 10);  // 1, 2, 4 … 256, 256
    CHECK(bucket.requests < 2 * 700);

    bucket.round_trips = bucket.requests = 0;
    newcomer.follow(note);
    CHECK(bucket.requests == 1);
    writer.append(test_identity(1), "join", "{}", ignore);
    bucket.requests = 0;
    newcomer.follow(note);
    CHECK(bucket.requests == 3);
    CHECK(seen.back() == 700);
}

TEST_CASE("ledger: a bucket that fails in the middle loses and repeats nothing") {
    Scratch folder;
    VirtualClock clock(0);
    WatchedBucket bucket(open_bucket(folder.url()));
    Ledger writer(bucket, clock);
    for (int i = 0; i < 20; ++i) writer.append(test_identity(i), "join", "{}", ignore);
    std::vector<uint64_t> seen;
    const auto note = [&](const LedgerEntry& entry) { seen.push_back(entry.sequence); };
    Ledger reader(bucket, clock);
    bucket.broken = ledger_key(9);
    for (int tries = 0; tries < 3; ++tries) {
        CHECK(code_of([&] { reader.follow(note); }, "no answer") == ExitCode::storage);
        CHECK(reader.next_sequence() == 9);
    }
    CHECK(reader.skipped().empty());  // not reached is not the same as nonsense
    bucket.broken.clear();
    reader.follow(note);
    CHECK(seen.size() == 20);
    CHECK(reader.head() == writer.head());
}

TEST_CASE("ledger: a stop ends the wait of one who loses every race") {
    VirtualClock clock(0);
    TakenBucket bucket;
    std::atomic<bool> stop{true};
    Ledger ledger(bucket, clock, &stop);
    CHECK(code_of([&] { ledger.append(test_identity(1), "join", "{}", ignore); }, "stopped") ==
          ExitCode::interrupted);
    CHECK(clock.now_ms() == 0);
}
