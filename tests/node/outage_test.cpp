// Buckets that fail for a while under a running swarm.
#include "node/outages.h"
#include "sample.h"
#include "tests/net/forwarding_bucket.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <thread>

using namespace templar;

namespace {

constexpr int64_t window_ms = 10'000, put_ms = 1000, record_ms = 500;  // of sample::run_description()
constexpr int64_t start_of(int64_t window) {
    return 1'000'000'010'000 + window * window_ms;
}

// When, where and what of a bucket's use fails.
struct Fault {
    std::string url_part, operation, key_part;
    int64_t from_ms, until_ms;
};

class FlakyBucket : public ForwardingBucket {
  public:
    FlakyBucket(std::unique_ptr<Bucket> bucket, Clock& clock, std::vector<Fault> faults)
        : ForwardingBucket(std::move(bucket)), clock_(clock), faults_(std::move(faults)) {}
    void before(const char* operation, const std::string& key) override {
        const int64_t now = clock_.now_ms();
        for (const Fault& fault : faults_)
            if (now >= fault.from_ms && now < fault.until_ms &&
                url().find(fault.url_part) != std::string::npos &&
                std::string_view(operation).find(fault.operation) != std::string_view::npos &&
                key.find(fault.key_part) != std::string::npos)
                fail(ExitCode::storage, "{}: no answer to {} {}", url(), operation, key);
    }

  private:
    Clock& clock_;
    std::vector<Fault> faults_;
};

// From this window on ratings decide who is gathered: of miners with so little to train on that is chance.
constexpr int64_t first_rated = 4;

struct Trial {
    sample::TemporaryFolder folder;
    VirtualClock clock{sample::clock_start_ms};
    LocalSwarm swarm;
    VirtualRunOptions options{
        .windows = 6, .tokens_per_window = 128, .micro_batch = 2, .start_order = {}};

    // The seed is one with which every miner's rating stays positive: whether it does is not what is tested here.
    explicit Trial(int miners, int validators = 1)
        : swarm(sample::swarm(folder.path(), clock, miners, 0, 0, validators, 7)) {}

    void run(std::vector<Fault> faults) {
        options.open = [this, faults](const std::string& url, const BucketOptions& bucket) {
            return std::make_unique<FlakyBucket>(open_bucket(url, bucket), clock, faults);
        };
        const std::vector<Digest> roots = run_virtual(swarm, options, clock);
        for (const Digest& root : roots) CHECK(root == roots.front());
    }
    Record record(int64_t window) const {
        const auto object = open_bucket(swarm.bucket_url)->get(record_key(window), max_record_bytes);
        REQUIRE(object);
        return record_from_json(unseal(*object, "record", "record").body, swarm.created.run.id, window);
    }
    std::vector<nlohmann::json> events(size_t peer, const std::string& kind) const {
        std::vector<nlohmann::json> found;
        std::ifstream file(swarm.peers[peer].folder / "events.jsonl");
        for (std::string line; std::getline(file, line);) {
            const auto event = nlohmann::json::parse(line);
            if (event.at("event") == kind) found.push_back(event);
        }
        return found;
    }
    // How often the participant said that a bucket had failed, and that it was back.
    std::pair<int, int> outages(size_t peer) const {
        std::pair<int, int> count;
        for (const auto& event : events(peer, "outage")) ++(event.at("over") ? count.second : count.first);
        return count;
    }
    bool accepted(int64_t window, size_t peer) const {
        for (const RecordEntry& entry : record(window).accepted)
            if (entry.hotkey == swarm.peers[peer].hotkey) return true;
        return false;
    }
};

}  // namespace

TEST_CASE("an outage of the run's bucket holds everyone up and ends nobody") {
    // From the middle of window 2, before anybody commits to it, to the middle of window 4.
    Trial trial(2, 2);
    trial.run({{"/swarm/bucket", "", "", start_of(2) + 5000, start_of(4) + 5000}});
    for (size_t peer = 0; peer < 4; ++peer) {
        CAPTURE(peer);
        CHECK(trial.outages(peer) == std::pair(1, 1));
        CHECK(trial.events(peer, "window").size() == 6);
    }
    // What was committed before the outage counts after it; what nobody could commit meanwhile is nobody's
    // fault.
    for (int64_t window : {0, 1, 2}) CHECK(trial.record(window).accepted.size() == 2);
    CHECK(trial.record(3).accepted.empty());
    CHECK(trial.record(4).accepted.size() >= 1);
    CHECK(trial.record(5).accepted.size() >= 1);
    for (int64_t window = 0; window < 6; ++window) {
        const auto object = open_bucket(trial.swarm.bucket_url)
                                ->get(scores_key(window, trial.swarm.peers[0].hotkey), max_scores_bytes);
        REQUIRE(object);
        for (const ScoreEntry& peer :
             scores_from_json(unseal(*object, "scores", "scores").body, trial.swarm.created.run.id, window)
                 .peers) {
            CHECK(peer.penalty.factor_score == 1.0);
            CHECK(peer.penalty.factor_binary == 1.0);
        }
    }
}

TEST_CASE("a short outage costs no window") {
    Trial trial(2);
    // Over the commit deadline of window 1; over the moment when validators read commits and when the record
    // is due in window 3.
    trial.run({{"/swarm/bucket", "create", "commit/", start_of(1), start_of(2) - 1000},
               {"/swarm/bucket", "get_many", "commit/", start_of(4), start_of(4) + put_ms - 200},
               {"/swarm/bucket", "", "record/", start_of(4) + put_ms, start_of(4) + put_ms + 4 * record_ms}});
    for (int64_t window = 0; window < 6; ++window) {
        CAPTURE(window);
        CHECK(trial.record(window).accepted.size() >= 1);
        CHECK(trial.record(window).rejected.empty());
        for (size_t miner : {1, 2}) CHECK(trial.events(miner, "window")[window].at("tokens") > 0);
    }
}

TEST_CASE("a commit that was stored although its answer was lost is kept") {
    Trial trial(1);
    class Deaf : public ForwardingBucket {
      public:
        using ForwardingBucket::ForwardingBucket;
        bool create(const std::string& key, ByteSpan bytes, int64_t budget_ms) override {
            const bool created = ForwardingBucket::create(key, bytes, budget_ms);
            if (created && key.starts_with("commit/"))
                fail(ExitCode::storage, "{}: the answer was lost", key);
            return created;
        }
        void before(const char*, const std::string&) override {}
    };
    trial.options.windows = 3;
    trial.options.open = [](const std::string& url, const BucketOptions& options) {
        return std::make_unique<Deaf>(open_bucket(url, options));
    };
    run_virtual(trial.swarm, trial.options, trial.clock);
    for (int64_t window = 0; window < 3; ++window) CHECK(trial.accepted(window, 1));
}

TEST_CASE("a miner that cannot reveal loses that window only") {
    Trial trial(2);
    trial.run({{"peers/miner-2/bucket", "create", "payload/00000002", 0, start_of(10)}});
    for (int64_t window = 0; window < 6; ++window) {
        CAPTURE(window);
        if (window < first_rated) CHECK(trial.accepted(window, 1));
        CHECK(trial.record(window).rejected.size() == (window == 2));
        CHECK(trial.events(2, "window")[window].at("tokens") > 0);
    }
    REQUIRE(trial.record(2).rejected.size() == 1);
    CHECK(trial.record(2).rejected[0].reason == "not_retrievable");
    CHECK(trial.outages(2) == std::pair(1, 1));
    CHECK(trial.outages(1) == std::pair(0, 0));
}

TEST_CASE("a validator whose archive fails goes on, and archives later what it could not") {
    Trial trial(2);
    trial.run({{"peers/validator-1/bucket", "", "", start_of(2), start_of(4)}});
    CHECK(trial.outages(0) == std::pair(1, 1));
    const auto archive = open_bucket("file://" + (trial.swarm.peers[0].folder / "bucket").string());
    for (int64_t window = 0; window < 6; ++window)
        for (const RecordEntry& entry : trial.record(window).accepted) {
            CAPTURE(window);
            CHECK(archive->head(payload_key(window, entry.hotkey)));
        }
    // Nobody had to wait for it.
    for (int64_t window = 0; window < 6; ++window) CHECK(trial.record(window).rejected.empty());
    for (int64_t window = 0; window < first_rated; ++window)
        CHECK(trial.events(1, "window")[static_cast<size_t>(window)].at("accepted") == true);
}

TEST_CASE("old payloads are deleted, also those that an outage or an earlier life left") {
    sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    write_file(folder.path() / "text.txt", as_bytes(sample::text(200'000)));
    LocalSwarmOptions options;
    options.folder = folder.path() / "swarm";
    options.texts = {folder.path() / "text.txt"};
    options.validators = options.miners = 1;
    options.copycats = options.noise = 0;
    options.run = sample::run_description();
    options.run.payload_windows = 2;
    options.seeded_keys = true;
    const LocalSwarm swarm = create_local_swarm(options, clock);
    const Hotkey own = swarm.peers[1].hotkey;
    const auto bucket =
        open_bucket("file://" + (swarm.peers[1].folder / "bucket").string(), {.create = true});
    const std::string others = "payload/00000000/" + std::string(64, 'a');
    bucket->put(others, as_bytes("another's"));
    VirtualRunOptions run{
        .windows = 5, .tokens_per_window = 128, .micro_batch = 2, .start_order = {}};
    run.open = [&](const std::string& url, const BucketOptions& bucket_options) {
        return std::make_unique<FlakyBucket>(
            open_bucket(url, bucket_options), clock,
            std::vector<Fault>{{"peers/miner-1", "remove", "", start_of(3), start_of(10)}});
    };
    run_virtual(swarm, run, clock);
    auto own_windows = [&] {
        std::vector<std::string> windows;
        for (const ObjectInfo& info : bucket->list("payload/"))
            if (info.key.ends_with(to_hex(own))) windows.push_back(info.key.substr(8, 8));
        return windows;
    };
    CHECK(own_windows().size() > 2);  // nothing could be deleted towards the end
    run.windows = 8;
    run.open = open_bucket;
    run_virtual(swarm, run, clock);
    CHECK(own_windows() == std::vector<std::string>{"00000006", "00000007"});
    CHECK(bucket->head(others));
}

TEST_CASE("a bucket that fails at the start ends the program with its reason") {
    Trial trial(1);
    for (const char* key : {"run.json", "data/manifest.json", "genesis.safetensors", "ledger/"}) {
        CAPTURE(key);
        const std::vector<Fault> faults = {{"/swarm/bucket", "", key, 0, start_of(100)}};
        NodeOptions node;
        node.bucket_url = trial.swarm.bucket_url;
        node.folder = trial.folder.path() / "newcomer";
        node.device.threads = 1;
        node.open = [&](const std::string& url, const BucketOptions& bucket) {
            return std::make_unique<FlakyBucket>(open_bucket(url, bucket), trial.clock, faults);
        };
        std::atomic<bool> stop{false};
        try {
            Follower follower(node, "miner", trial.clock, stop);
            FAIL("started without its bucket");
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::storage);
            CHECK(std::string(error.what()).find(key) != std::string::npos);
        }
    }
}

TEST_CASE("outages: said once and once more when over; a stop ends the wait and is no outage") {
    sample::TemporaryFolder folder;
    VirtualClock clock(0);
    std::atomic<bool> stop{false};
    EventLog events;
    std::vector<std::string> lines;
    const auto bucket = open_bucket("file://" + folder.path().string());
    Outages outages(
        clock, stop, events, [&](const std::string& line) { lines.push_back(line); }, 1000);
    const auto broken = [] { fail(ExitCode::storage, "no answer"); };
    const auto works = [] {};

    CHECK(outages.reached(*bucket, works));
    CHECK(lines.empty());
    for (int i = 0; i < 5; ++i) CHECK_FALSE(outages.reached(*bucket, broken));
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("no answer") != std::string::npos);
    CHECK_FALSE(outages.reached_by(60'000, *bucket, broken));
    CHECK(clock.now_ms() == 60'000);
    CHECK(lines.size() == 1);
    int tries = 0;
    CHECK(outages.reached_by(Outages::forever, *bucket, [&] {
        if (++tries < 20) broken();
    }));
    REQUIRE(lines.size() == 2);
    CHECK(lines[1].find("works again") != std::string::npos);
    CHECK(clock.now_ms() < 60'000 + 20 * 1000);

    // What fails alone does not flap with what works.
    for (int i = 0; i < 5; ++i) {
        CHECK_FALSE(outages.reached(*bucket, broken, "deleting"));
        CHECK(outages.reached(*bucket, works));
    }
    CHECK(lines.size() == 3);
    CHECK(outages.reached(*bucket, works, "deleting"));
    REQUIRE(lines.size() == 4);
    CHECK(lines[3].find("deleting works again") != std::string::npos);

    CHECK_THROWS_AS(outages.reached(*bucket, [] { fail(ExitCode::diverged, "another state"); }), Error);
    CHECK_THROWS_AS(outages.reached(*bucket, [] { fail(ExitCode::input, "nonsense"); }), Error);

    const int64_t before = clock.now_ms();
    CHECK_FALSE(outages.reached_by(Outages::forever, *bucket, [&] {
        stop = true;
        broken();
    }));
    CHECK(clock.now_ms() == before);
    CHECK(lines.size() == 4);
}
