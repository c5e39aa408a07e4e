// A whole swarm over an S3 service that fails, dawdles and comes back, on the real clock.
#include "tests/node/sample.h"
#include "tests/system/s3_server.h"

#include "net/swarm/objects.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <thread>

using namespace templar;
using s3test::Fault;
using s3test::Operation;
using s3test::Server;

namespace {

constexpr int64_t windows = 6;

struct S3Swarm {
    sample::TemporaryFolder folder;
    Server server;
    SystemClock clock;
    std::atomic<bool> stop{false};
    LocalSwarm swarm;

    explicit S3Swarm(int miners) {
        std::string keys;
        auto add = [&](const std::string& name) {
            server.add_bucket(name);
            for (const std::string& section : {name, name + "-read"}) {
                server.add_key(
                    {.id = "ID" + section, .secret = "secret-" + section, .read_only = section != name});
                keys += fmt::format(
                    "[{}]\naws_access_key_id = ID{}\naws_secret_access_key = secret-{}\n"
                    "endpoint_url = {}\nregion = us-east-1\n",
                    section, section, section, server.origin());
            }
        };
        add("run");
        add("validator-1");
        for (int miner = 1; miner <= miners; ++miner) add(fmt::format("miner-{}", miner));
        create_file(folder.path() / "keys", as_bytes(keys), 0600);
        write_file(folder.path() / "text.txt", as_bytes(sample::text(200'000)));
        LocalSwarmOptions options;
        options.folder = folder.path() / "swarm";
        options.texts = {folder.path() / "text.txt"};
        options.miners = miners;
        options.copycats = options.noise = 0;
        options.run = sample::run_description();
        options.run.t0_ms = 0;
        options.run.block_ms = 2500;
        options.run.blocks_per_window = 1;
        options.run.put_ms = 500;
        options.run.record_ms = 400;
        options.run.payload_windows = 2;
        options.s3_credentials = folder.path() / "keys";
        options.start_delay_ms = 2000;
        swarm = create_local_swarm(options, clock);
    }

    Digest live(const LocalPeer& peer) {
        NodeOptions node;
        node.bucket_url = swarm.bucket_url;
        node.payload_bucket_url = peer.payload_url;
        node.folder = peer.folder;
        node.expected_run = swarm.created.run.id;
        node.device.threads = 1;
        node.last_window = windows - 1;
        node.allow_http = node.allow_private = true;
        if (peer.role == "validator") {
            Validator validator({.node = node, .micro_batch = 8, .heldout_sequences = 0}, clock, stop);
            validator.run();
            return validator.root();
        }
        Miner miner({.node = node, .micro_batch = 2, .tokens_per_window = 64}, clock, stop);
        miner.run();
        return miner.root();
    }

    // Everyone, to the last window; `meanwhile` runs beside them. Ends all when one of them fails.
    std::vector<Digest> run(const std::function<void()>& meanwhile) {
        std::vector<Digest> roots(swarm.peers.size());
        std::vector<std::exception_ptr> errors(swarm.peers.size());
        {
            std::vector<std::jthread> threads;
            for (size_t i = 0; i < swarm.peers.size(); ++i)
                threads.emplace_back([this, i, &roots, &errors] {
                    try {
                        roots[i] = live(swarm.peers[i]);
                    } catch (...) {
                        errors[i] = std::current_exception();
                        stop = true;
                    }
                });
            meanwhile();
        }
        for (const std::exception_ptr& error : errors)
            if (error) std::rethrow_exception(error);
        return roots;
    }
    void wait_for(const std::string& bucket, const std::string& key) const {
        while (!stop && !server.find(bucket, key)) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    Record record(int64_t window) const {
        const auto stored = server.find("run", record_key(window));
        REQUIRE(stored);
        return record_from_json(unseal(stored->bytes, "record", "record").body, swarm.created.run.id, window);
    }
    std::vector<nlohmann::json> windows_of(const LocalPeer& peer) const {
        std::vector<nlohmann::json> found;
        std::ifstream file(peer.folder / "events.jsonl");
        for (std::string line; std::getline(file, line);) {
            const auto event = nlohmann::json::parse(line);
            if (event.at("event") == "window") found.push_back(event);
        }
        return found;
    }
};

}  // namespace

TEST_CASE("a swarm over S3: an outage of the run's bucket and a peer that drips stop nobody") {
    S3Swarm s(3);
    // Miner 3's payloads come at a hundred bytes a second, to everyone.
    const Hotkey dripper = s.swarm.peers[3].hotkey;
    s.server.inject({.fault = Fault::drip,
                     .operations = {Operation::get},
                     .where = "miner-3/payload/*",
                     .times = 1 << 30,
                     .bytes_per_s = 100});
    const std::vector<Digest> roots = s.run([&] {
        s.wait_for("run", record_key(1));
        const int64_t rule = s.server.inject(
            {.fault = Fault::status, .where = "run/*", .times = 1 << 30, .status = 503, .code = "SlowDown"});
        std::this_thread::sleep_for(std::chrono::seconds(4));
        CHECK(s.server.strikes(rule) > 0);
        s.server.heal();
        s.server.inject({.fault = Fault::drip,
                         .operations = {Operation::get},
                         .where = "miner-3/payload/*",
                         .times = 1 << 30,
                         .bytes_per_s = 100});
    });
    for (const Digest& root : roots) CHECK(root == roots.front());

    int64_t accepted = 0;
    bool told = false;
    for (int64_t window = 0; window < windows; ++window) {
        const Record record = s.record(window);
        accepted += std::ssize(record.accepted);
        for (const RecordEntry& entry : record.accepted) {
            CHECK(entry.hotkey != dripper);
            // Where a newcomer will look for it when its owner has deleted it.
            CHECK(s.server.find("validator-1", payload_key(window, entry.hotkey)));
        }
        for (const RecordRejection& rejection : record.rejected)
            told |= rejection.hotkey == dripper && rejection.reason == "not_retrievable";
        const auto stored = s.server.find("run", record_key(window));
        CHECK(stored->times_stored == 1);
    }
    CHECK(accepted >= 2);
    CHECK(told);
    for (const LocalPeer& peer : s.swarm.peers) {
        CAPTURE(peer.name);
        const auto events = s.windows_of(peer);
        CHECK(events.size() == windows);
        for (const auto& event : events) {
            // What a quiet window costs: a miner writes its commit and its payload, and looks a few times.
            if (peer.role != "miner" || event.at("retries") > 0 || event.at("window") == 0) continue;
            CHECK(event.at("class_a") <= 3);
            CHECK(event.at("class_b") <= 40);
            CHECK(event.at("deletes") <= 2);
        }
    }

    // A newcomer replays the run from the archive, with keys that may only read.
    s.server.heal();
    NodeOptions node;
    node.bucket_url = s.swarm.bucket_url;
    node.payload_bucket_url = s.swarm.peers[1].payload_url;
    node.folder = s.folder.path() / "newcomer";
    node.credentials = s.swarm.peers[1].folder / "credentials";
    node.device.threads = 1;
    node.allow_http = node.allow_private = true;
    s.stop = false;
    Follower newcomer(node, "miner", s.clock, s.stop);
    newcomer.catch_up();
    CHECK(newcomer.window() == windows);
    CHECK(newcomer.replica().root() == roots.front());
}

TEST_CASE("a participant that waits for a silent service ends at once when it is told to") {
    S3Swarm s(1);
    s.server.inject({.fault = Fault::stall, .where = "run/*", .first = 1, .times = 1 << 30});
    const auto started = std::chrono::steady_clock::now();
    std::jthread stopper([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        s.stop = true;
    });
    CHECK_THROWS_AS(s.live(s.swarm.peers[1]), Error);
    CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(10));
}

TEST_CASE("a clock that is not the service's is told of at the start") {
    S3Swarm s(1);
    for (int64_t offset : {int64_t{0}, int64_t{30}, int64_t{-30}}) {
        CAPTURE(offset);
        s.server.set_clock_offset(offset);
        std::vector<std::string> lines;
        NodeOptions node;
        node.bucket_url = s.swarm.bucket_url;
        node.payload_bucket_url = s.swarm.peers[1].payload_url;
        node.folder = s.swarm.peers[1].folder;
        node.device.threads = 1;
        node.allow_http = node.allow_private = true;
        node.say = [&](const std::string& line) { lines.push_back(line); };
        const Follower follower(node, "miner", s.clock, s.stop);
        const std::string expected = offset > 0 ? " s behind the bucket's" : " s ahead of the bucket's";
        const bool told = std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
            return line.find(expected) != line.npos;
        });
        CHECK(told == (offset != 0));
    }
}
